"""The two ways a command talks, and what it says of every kind of failure."""

from __future__ import annotations

import errno
import importlib.metadata
import io
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.cli import console
from backend.cli.console import TerminalConsole, error_from_exception, exit_code, format_duration, to_json_value
from backend.contract.errors import Cancelled, UserError
from backend.contract.protocol import Error, Hello, Message, Progress, Result, decode_message, encode_message
from backend.setup import device, doctor

REPO = Path(__file__).resolve().parents[2]


def python(script: str, *words: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, words)]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=120, input=stdin)


def messages(text: str) -> Iterator[Message]:
    return (decode_message(line) for line in text.splitlines())


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("no_face", "No face was found.", "Choose another video."), "no_face", "No face"),
        (Cancelled(), "cancelled", "Cancelled"),
        (KeyboardInterrupt(), "cancelled", "Cancelled"),
        (MemoryError(), "out_of_memory", "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory", "on the GPU"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] not enough memory: you tried"), "out_of_memory", "memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "disk_full", "/a/b"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "read_only", "/a/b"),
        (OSError(errno.EROFS, "Read-only file system"), "read_only", "cannot be written"),
        (OSError(errno.EFBIG, "File too large", "/a/b"), "write_failed", "File too large"),
        (ModuleNotFoundError("No module named 'librosa.core'", name="librosa.core"), "missing_package", "librosa"),
    ],
)
def test_known_failures_are_sentences(error: BaseException, code: str, words: str, tmp_path: Path) -> None:
    told = error_from_exception(error, tmp_path)
    assert told.code == code and words in told.message and told.remedy and not told.log
    assert exit_code(told) == (130 if code == "cancelled" else 2)
    assert not list(tmp_path.iterdir()), "a person's failure needs no log"


def test_what_a_program_needs_for_the_remedy_reaches_it(tmp_path: Path) -> None:
    faces = {"faces": [[1, 2, 3, 4]], "pictures": [tmp_path / "face_1.png"]}
    told = error_from_exception(UserError("several_faces", "Two faces.", "Choose one.", faces), None)
    received = decode_message(encode_message(told))
    assert isinstance(received, Error)
    assert received.data == {"faces": [[1, 2, 3, 4]], "pictures": [str(tmp_path / "face_1.png")]}
    assert error_from_exception(UserError("no_face", "No face."), None).data == {}


@pytest.mark.parametrize(
    "error",
    [KeyError("speech"), ZeroDivisionError("division by zero"), FileNotFoundError(errno.ENOENT, "No such file", "x"),
     ImportError("cannot import name", name="backend.model"), RuntimeError("shape '[3, 4]' is\n invalid" + "x" * 999)],
)  # fmt: skip
def test_bugs_leave_a_log(error: Exception, tmp_path: Path) -> None:
    try:
        raise error
    except Exception as raised:
        told = error_from_exception(raised, tmp_path)
    assert told.code == "internal" and exit_code(told) == 1
    assert "\n" not in told.message and len(told.message) < 300 and type(error).__name__ in told.message
    log = Path(told.log)
    assert log.parent == tmp_path
    assert "Traceback" in log.read_text(encoding="utf-8") and "test_bugs_leave_a_log" in log.read_text(encoding="utf-8")


def test_the_log_goes_where_it_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.tempfile, "gettempdir", lambda: str(tmp_path))
    assert Path(error_from_exception(KeyError("a"), tmp_path / "gone.actor").log).parent == tmp_path
    monkeypatch.setattr(console.tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    assert error_from_exception(KeyError("a"), None).log == ""


def test_an_unexpected_error_in_a_command(tmp_path: Path) -> None:
    script = """
        import sys
        from backend import __main__ as commands
        def broken(options, console):
            raise KeyError("a bug")
        commands.COMMANDS["doctor"] = broken
        sys.exit(commands.main(["doctor", *sys.argv[1:]]))
    """
    person = python(script)
    assert person.returncode == 1 and "Traceback" not in person.stderr
    assert "An unexpected error stopped the job (KeyError: 'a bug')." in person.stderr
    log = Path(person.stderr.strip().splitlines()[-1].removeprefix("The details are in "))
    assert "KeyError" in log.read_text(encoding="utf-8")


def test_nothing_but_messages_reaches_blender() -> None:
    """Python's print, C's stdout and a child's: all of it lands in the log."""
    script = """
        import os, subprocess, sys
        from backend.cli.console import JsonLinesConsole
        console = JsonLinesConsole("1.2.3")
        sys.stdout.write("noise of Python\\n"); sys.stdout.flush()
        os.write(1, b"noise of C\\n")
        subprocess.run([sys.executable, "-c", "import sys; sys.stdout.write('noise of a child\\\\n')"])
        console.begin("cpu", "a processor")
        console.progress("render", 0, 2)
        console.progress("render", 2, 2, "Über")
        console.finish("well", {"path": "肖像", "bad": float("nan")})
        console.finish("twice", {})
    """
    answer = python(script)
    said = list(messages(answer.stdout))
    assert [type(m) for m in said] == [Hello, Progress, Progress, Result]
    assert isinstance(said[0], Hello) and said[0].version == "1.2.3" and said[0].pid > 0
    assert isinstance(said[3], Result) and said[3].data == {"path": "肖像", "bad": None}
    assert all(f"noise of {who}" in answer.stderr for who in ("Python", "C", "a child"))


def test_libraries_do_not_tear_the_bar() -> None:
    script = """
        import os, sys
        from backend.cli.console import TerminalConsole, redirect_library_output
        redirect_library_output()
        os.write(2, b"W0000 inference_feedback_manager\\n")
        TerminalConsole().note("12 frames were left out: 肖像.")
    """
    assert python(script).stderr == "12 frames were left out: 肖像.\n"


def test_hello_comes_first_even_when_it_fails_at_once() -> None:
    script = """
        from backend.cli.console import JsonLinesConsole, error_from_exception
        console = JsonLinesConsole("1")
        console.fail(error_from_exception(ValueError("x"), None))
        console.begin("cpu", "late")
    """
    said = list(messages(python(script).stdout))
    assert [type(m) for m in said] == [Hello, Error]


STUCK = """
    import sys, time
    from backend.cli.console import Canceller, JsonLinesConsole, watch_requests
    console = JsonLinesConsole("1")
    canceller = Canceller(console)
    watch_requests(lambda request: canceller.cancel(), canceller.cancel)
    console.begin("cpu", "")
    time.sleep(100)
"""


@pytest.mark.parametrize("given", ['rubbish\n{"event": "request", "id": "job", "verb": "cancel"}\n', ""])
def test_a_job_that_does_not_react_is_ended(given: str) -> None:
    """100 s of work that never looks up: the request, or the closed input, is answered all the same."""
    answer = python(STUCK, stdin=given)
    said = list(messages(answer.stdout))
    assert answer.returncode == 130
    assert isinstance(said[-1], Error) and said[-1].code == "cancelled" and len(said) == 2


def test_cancel_after_the_end_changes_nothing() -> None:
    script = """
        import sys, time
        from backend.cli.console import Canceller, JsonLinesConsole
        console = JsonLinesConsole("1")
        canceller = Canceller(console)
        canceller.cancel()
        canceller.disarm()
        console.finish("well", {})
        canceller.cancel()
        time.sleep(1.5)
        sys.exit(0)
    """
    answer = python(script)
    assert answer.returncode == 0 and [type(m) for m in messages(answer.stdout)] == [Hello, Result]


def test_a_reader_that_has_gone_ends_the_process() -> None:
    script = """
        from backend.cli.console import JsonLinesConsole
        console = JsonLinesConsole("1")
        while True:
            console.note("x" * 1000)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.wait(60) == 130 and b"Traceback" not in child.stderr.read()


def test_terminal_tells_stages_and_ends_on_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    errors, output = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr(sys, "stdout", output)
    person = TerminalConsole()
    for done in range(4):
        person.progress("find_face", done, 3)
    person.note("12 frames were left out.")
    person.progress("train", 0, 1, "Training the mouth")
    person.progress("train", 1, 9, "Training the mouth")
    person.finish("Jane is in jane.actor.", {})
    assert errors.getvalue().splitlines() == ["Find face", "12 frames were left out.", "Training the mouth"]
    assert output.getvalue() == "Jane is in jane.actor.\n"
    person.is_cancelled = True
    with pytest.raises(Cancelled):
        person.progress("train", 1, 9)


def test_terminal_bar_shows_only_the_time_that_the_forecast_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    errors, told = Terminal(), iter([-1.0, -1.0, 150.0, -1.0])
    monkeypatch.setattr(sys, "stderr", errors)
    person = TerminalConsole()
    monkeypatch.setattr(person.eta_estimator, "estimate_eta", lambda *_: next(told))
    shown = []
    for done in range(4):
        person.progress("train", done, 3000)
        person._progress_bar.refresh()
        shown.append(errors.getvalue().rpartition("\r")[2])
    assert not any("<" in text or "?" in text for text in shown), "tqdm's own guess stands as [elapsed<left, rate]"
    assert ["left" in text for text in shown] == [False, False, True, False]
    assert "whole job 2:30 left" in shown[2]


def test_terminal_draws_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    errors = Terminal()
    monkeypatch.setattr(sys, "stderr", errors)
    person = TerminalConsole()
    person.progress("render", 0, 4)
    person.progress("render", 4, 4)
    person.fail(Error("job", "disk_full", "The disk is full.", "Free some space.", "a.log"))
    shown = errors.getvalue()
    assert "Render" in shown and "4/4" in shown
    assert shown.endswith("Error: The disk is full. Free some space.\nThe details are in a.log\n")


def test_results_are_plain_json() -> None:
    data = {"a": np.float32(0.5), "b": np.int64(3), "c": float("inf"), "d": [Path("x"), (1, None)], 5: True}
    assert json.loads(json.dumps(to_json_value(data), allow_nan=False)) == {
        "a": 0.5, "b": 3, "c": None, "d": ["x", [1, None]], "5": True,
    }  # fmt: skip


def test_durations() -> None:
    assert [format_duration(s) for s in (0, 59.6, 75, 3600, 36061)] == ["0:00", "1:00", "1:15", "1:00:00", "10:01:01"]


@pytest.mark.parametrize(
    ("gpu", "gsplat", "wish", "wanted"),
    [(True, True, "auto", "cuda"), (True, True, "cuda", "cuda"), (True, True, "cpu", "cpu"),
     (True, False, "auto", "cpu"), (True, False, "cuda", "no_gsplat"), (False, True, "auto", "cpu"),
     (False, True, "cuda", "no_cuda"), (True, True, "tpu", "bad_device")],
)  # fmt: skip
def test_choice_of_device(monkeypatch: pytest.MonkeyPatch, gpu: bool, gsplat: bool, wish: str, wanted: str) -> None:
    """What was asked for by name is given or refused, never replaced."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(device, "has_gsplat", lambda: gsplat)
    try:
        chosen = device.choose_device(wish).type
    except UserError as error:
        chosen = error.code
    assert chosen == wanted


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "librosa":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "scipy" else real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    report = doctor.diagnose()
    found: dict[str, dict[str, Any]] = {f["what"]: f for f in report["findings"]}
    assert not report["ok"] and not found["librosa"]["ok"] and not found["scipy"]["ok"] and found["numpy"]["ok"]
    table = doctor.format_report(report)
    assert "MISSING  librosa" in table and "1.0 (wanted: " in table and "Set up the backend again" in table


def test_doctor_without_the_project_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "PYPROJECT_PATH", tmp_path / "none.toml")
    assert any(f["what"] == "face tracker" for f in doctor.diagnose()["findings"])


def test_doctor_names_a_missing_file_of_the_phone_recogniser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("means", "variances", "mdef"):
        (tmp_path / name).touch()
    monkeypatch.setattr(doctor, "SPEECH_MODEL_FOLDER", tmp_path)
    report = doctor.diagnose()
    found: dict[str, dict[str, Any]] = {f["what"]: f for f in report["findings"]}
    assert not report["ok"] and found["phone recogniser"]["state"] == "missing: sendump"
