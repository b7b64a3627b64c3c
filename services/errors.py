"""Errors of jobs that are expected: their message is shown, without a traceback."""


class JobError(Exception):
    """A job can't be done now and is tried again later; the message is shown to people."""


class GivenUpError(JobError):
    """A job ended without doing its work, and isn't tried again."""
