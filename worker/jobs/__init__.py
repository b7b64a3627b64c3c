"""The jobs, one module a kind. Each has `run(project_id, generation)`."""
