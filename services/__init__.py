"""What is done for a project, called alike by jobs, HTTP and the command line."""
