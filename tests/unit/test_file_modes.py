"""Files of an actor get their permissions from the umask, so that a studio can share them."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.cli.failures import error_from_exception
from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.atomic_write import write_bytes_atomically
from backend.contract.channels import ORAL_CHANNELS
from backend.speech.model import SpeechModel
from backend.speech.mouth import MouthProfile
from backend.speech.network import SpeechNetwork

ROOT = Path(__file__).resolve().parents[2]
# Functions whose files only the owner can read, whatever the umask.
PRIVATE = {"mkstemp", "NamedTemporaryFile", "save_file"}


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=["022", "002", "077"])
def expected_mode(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set a umask and return the permissions of a new file under it."""
    if os.name == "nt":
        pytest.skip("on Windows a file has the permissions of its folder")
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


def save_speech(folder: Path) -> None:
    """Write a speech model."""
    zeros = np.zeros(len(ORAL_CHANNELS), np.float32)
    mouth: Any = MouthProfile(*[zeros] * len(fields(MouthProfile)))
    model = SpeechModel(SpeechNetwork({"w0": zeros}), mouth, zeros, np.zeros((0, 0), np.float32))
    model.save(ActorFolder(folder, ActorInfo()))


def save_bytes(folder: Path) -> None:
    """Write bytes."""
    write_bytes_atomically(folder / "frame.png", b"picture")


def save_error_log(folder: Path) -> None:
    """Write the log of a bug."""
    error_from_exception(RuntimeError("a bug"), folder)


@pytest.mark.parametrize("write", [save_speech, save_bytes, save_error_log])
def test_file_has_the_permissions_of_the_umask(
    tmp_path: Path, expected_mode: int, write: Callable[[Path], None]
) -> None:
    write(tmp_path)
    (file,) = tmp_path.iterdir()
    assert oct(file.stat().st_mode & 0o777) == oct(expected_mode)


def test_no_source_calls_functions_that_make_private_files() -> None:
    files = [path for folder in ("addon", "backend", "tools") for path in (ROOT / folder).rglob("*.py")]
    called = {
        (path.relative_to(ROOT).as_posix(), ast.unparse(node.func).rpartition(".")[2])
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert len(files) > 100 and not {(path, name) for path, name in called if name in PRIVATE}
