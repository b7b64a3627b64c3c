"""View models: what pages, the API and commands show of a project."""
