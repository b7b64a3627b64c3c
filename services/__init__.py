"""Operations on a project, shared by jobs, HTTP routes and commands."""
