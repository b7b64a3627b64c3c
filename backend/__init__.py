"""The web process: Label Studio's protocol, the pages, the sweeper, the command line."""
