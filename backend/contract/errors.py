"""The two exceptions that users see: a failure with a remedy, and a cancelled job. Standard library only."""

from __future__ import annotations

from typing import Any


class UserError(Exception):
    """A failure that the user can fix: what is wrong, and what to do.

    Args:
        code: stable lower_snake_case identifier for scripts, e.g. ``"no_face"``.
        message: a sentence that says what is wrong.
        remedy: a sentence that says what to do.
        data: values for a program that offers the remedy, e.g. the faces to choose from; plain JSON values.
    """

    exit_code = 2

    def __init__(self, code: str, message: str, remedy: str = "", data: dict[str, Any] | None = None) -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.code, self.message, self.remedy, self.data = code, message, remedy, data or {}


class Cancelled(Exception):
    """The user asked to stop. Finished files stay on disk, and the next run continues from them."""

    exit_code = 130
