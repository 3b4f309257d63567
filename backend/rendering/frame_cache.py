"""The record of finished frames, so that unchanged ones are not rendered again."""

from __future__ import annotations

import json
from pathlib import Path

from ..contract.atomic_write import error_from_failed_write
from ..contract.errors import UserError
from ..contract.safe_io import read_bytes


class FrameCache:
    """The fingerprint of the inputs of each finished file: one JSON line per file, of which the last one counts.

    Args:
        path: the record, which may not exist yet.

    Raises:
        UserError: the record exists and cannot be read.
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
                continue  # a line that a crash cut off; its frame is rendered again

    def add_frame(self, name: str, fingerprint: str) -> None:
        """Record that a file was made from inputs with this fingerprint.

        Raises:
            UserError: the record cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                # The line break comes first, so that a line that a crash cut off damages only itself.
                file.write("\n" + json.dumps({"file": name, "inputs": fingerprint}))
        except OSError as error:
            raise error_from_failed_write(self.path, error) from error
