"""Starting, restarting and stopping child processes."""
