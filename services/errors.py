"""What can go wrong in a job without being a fault of ours."""


class JobError(Exception):
    """Why a job can't be done, in words for people. It is tried again later."""


class GivenUpError(JobError):
    """A job ended without doing what was wished for; it isn't tried again."""
