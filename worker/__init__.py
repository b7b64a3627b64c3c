"""The background: RQ queues and jobs, the launcher, the embedded broker."""
