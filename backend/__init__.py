"""The web process (Label Studio's protocol, JSON API, pages, scheduler) and the command line."""
