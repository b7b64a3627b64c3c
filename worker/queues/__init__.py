"""RQ queues, the workers that serve them, and the embedded broker."""
