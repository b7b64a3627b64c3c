"""The error that commands raise: printed as one line, without a traceback."""


class CommandError(Exception):
    """A command can't do what was asked; the message says why and what to do.

    `code` is the exit status.
    """

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def first_line(error: BaseException) -> str:
    """The error's message in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
