"""What is on disk and need not be rendered again."""

from __future__ import annotations

import json
from pathlib import Path

from ..contract.atomic_write import error_from_failed_write
from ..contract.errors import UserError
from ..contract.safe_io import read_bytes


class FrameCache:
    """Which inputs each finished file was made from: one JSON line a file, the last one counts.

    Raises:
        UserError: the ledger is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fingerprints: dict[str, str] = {}
        try:
            lines = read_bytes(path).decode("utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        except (OSError, ValueError) as error:
            raise UserError("unreadable_file", f"{path} cannot be read.", "Delete it and render again.") from error
        for line in filter(None, lines):
            try:
                entry = json.loads(line)
                self.fingerprints[str(entry["file"])] = str(entry["inputs"])
            except (ValueError, TypeError, KeyError, RecursionError):
                continue  # a line that a crash cut off: that frame is rendered again

    def add_frame(self, name: str, fingerprint: str) -> None:
        """Writes down that a file is there, made from these inputs.

        Raises:
            UserError: it cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                # The line break comes first, so a line that a crash cut off spoils only itself.
                file.write("\n" + json.dumps({"file": name, "inputs": fingerprint}))
        except OSError as error:
            raise error_from_failed_write(self.path, error) from error
