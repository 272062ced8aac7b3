"""The errors a user may see: one line that names the file and field, and the next step."""

from __future__ import annotations


class MixlawError(Exception):
    """The work failed (exit status 1).

    `message` says what is wrong and where (file, field, run); `hint` says what to do next.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class InputError(MixlawError):
    """Bad usage or bad input (exit status 2)."""

    exit_status = 2
