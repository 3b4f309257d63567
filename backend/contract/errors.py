"""The two exceptions that a person sees: a failure with a remedy, and a cancelled job. Standard library only."""

from __future__ import annotations

from typing import Any


class UserError(Exception):
    """A failure that a person can act on: one sentence, and what to do about it.

    Args:
        code: stable lower_snake_case identifier for scripts, e.g. ``"no_face"``.
        message: one sentence that says what is wrong.
        remedy: one sentence that says what to do.
        data: what a program needs to offer the remedy, e.g. the faces to choose from; plain JSON values.
    """

    exit_code = 2

    def __init__(self, code: str, message: str, remedy: str = "", data: dict[str, Any] | None = None) -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.code, self.message, self.remedy, self.data = code, message, remedy, data or {}


class Cancelled(Exception):
    """The person asked to stop. What was finished stays on disk and is used again by the next run."""

    exit_code = 130
