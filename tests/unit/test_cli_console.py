"""Consoles for terminals and Blender, cancellation, error messages, the choice of device and the doctor."""

from __future__ import annotations

import ast
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
from child import REPO, TIMEOUT_SECONDS

from backend.cli.commands import build_parser
from backend.cli.console import TerminalConsole
from backend.cli.failures import error_from_exception, exit_code
from backend.cli.formatting import format_duration, to_json_value
from backend.contract.errors import Cancelled, UserError
from backend.contract.presets import PRESET_NAMES
from backend.contract.protocol import Error, Hello, Message, Progress, Result, decode_message, encode_message
from backend.setup import device, doctor
from backend.synthetic import SampleOptions
from backend.training.config import PRESETS


def run_python(script: str, *words: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, words)]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, input=stdin)


def decode_lines(text: str) -> Iterator[Message]:
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
def test_known_failure_becomes_a_user_error(error: BaseException, code: str, words: str, tmp_path: Path) -> None:
    message = error_from_exception(error, tmp_path)
    assert message.code == code and words in message.message and message.remedy and not message.log
    assert exit_code(message) == (130 if code == "cancelled" else 2)
    assert not list(tmp_path.iterdir()), "only a bug needs a log"


def test_error_data_is_sent_as_json(tmp_path: Path) -> None:
    faces = {"faces": [[1, 2, 3, 4]], "pictures": [tmp_path / "face_1.png"]}
    message = error_from_exception(UserError("several_faces", "Two faces.", "Choose one.", faces), None)
    received = decode_message(encode_message(message))
    assert isinstance(received, Error)
    assert received.data == {"faces": [[1, 2, 3, 4]], "pictures": [str(tmp_path / "face_1.png")]}
    assert error_from_exception(UserError("no_face", "No face."), None).data == {}


@pytest.mark.parametrize(
    "error",
    [KeyError("speech"), ZeroDivisionError("division by zero"), FileNotFoundError(errno.ENOENT, "No such file", "x"),
     ImportError("cannot import name", name="backend.model"), RuntimeError("shape '[3, 4]' is\n invalid" + "x" * 999)],
)  # fmt: skip
def test_bug_writes_a_log(error: Exception, tmp_path: Path) -> None:
    try:
        raise error
    except Exception as raised:
        message = error_from_exception(raised, tmp_path)
    assert message.code == "internal" and exit_code(message) == 1
    assert "\n" not in message.message and len(message.message) < 300 and type(error).__name__ in message.message
    log = Path(message.log)
    assert log.parent == tmp_path
    assert "Traceback" in log.read_text(encoding="utf-8") and "test_bug_writes_a_log" in log.read_text(encoding="utf-8")


def test_log_is_written_to_the_first_writable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert Path(error_from_exception(KeyError("a"), tmp_path / "gone.actor").log).parent == tmp_path
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "gone"))
    assert error_from_exception(KeyError("a"), None).log == ""


def test_bug_in_a_command_is_reported_with_its_log() -> None:
    script = """
        import sys
        from backend.cli import commands
        from backend.setup import doctor
        def diagnose():
            raise KeyError("a bug")
        doctor.diagnose = diagnose
        sys.exit(commands.main(["doctor"]))
    """
    result = run_python(script)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "An unexpected error stopped the job (KeyError: 'a bug')." in result.stderr
    log = Path(result.stderr.strip().splitlines()[-1].removeprefix("The details are in "))
    assert "KeyError" in log.read_text(encoding="utf-8")


def test_only_messages_reach_standard_output() -> None:
    """What Python, C code and a child process print goes to standard error."""
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
    answer = run_python(script)
    received = list(decode_lines(answer.stdout))
    assert [type(m) for m in received] == [Hello, Progress, Progress, Result]
    assert isinstance(received[0], Hello) and received[0].version == "1.2.3" and received[0].pid > 0
    assert isinstance(received[3], Result) and received[3].data == {"path": "肖像", "bad": None}
    assert all(f"noise of {source}" in answer.stderr for source in ("Python", "C", "a child"))


def test_library_output_does_not_reach_the_terminal() -> None:
    script = """
        import os, sys
        from backend.cli.console import TerminalConsole, redirect_library_output
        redirect_library_output()
        os.write(2, b"W0000 inference_feedback_manager\\n")
        TerminalConsole().note("12 frames were left out: 肖像.")
    """
    assert run_python(script).stderr == "12 frames were left out: 肖像.\n"


def test_hello_is_first_when_the_job_fails_at_once() -> None:
    script = """
        from backend.cli.console import JsonLinesConsole
        from backend.cli.failures import error_from_exception
        console = JsonLinesConsole("1")
        console.fail(error_from_exception(ValueError("x"), None))
        console.begin("cpu", "late")
    """
    received = list(decode_lines(run_python(script).stdout))
    assert [type(m) for m in received] == [Hello, Error]


class Terminal(io.StringIO):
    """Standard error that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


BUSY_JOB = """
    import threading
    from backend.cli.console import Canceller, JsonLinesConsole, watch_requests
    console = JsonLinesConsole("1")
    canceller = Canceller(console)
    watch_requests(lambda request: canceller.cancel(), canceller.cancel)
    console.begin("cpu", "")
    threading.Event().wait()
"""


@pytest.mark.parametrize("requests", ['rubbish\n{"event": "request", "id": "job", "verb": "cancel"}\n', ""])
def test_job_that_ignores_a_cancellation_is_ended(requests: str) -> None:
    """The job never checks for a cancellation; a request or the end of its input ends it nevertheless."""
    answer = run_python(BUSY_JOB, stdin=requests)
    received = list(decode_lines(answer.stdout))
    assert answer.returncode == 130
    assert isinstance(received[-1], Error) and received[-1].code == "cancelled" and len(received) == 2


def test_cancel_after_the_end_has_no_effect() -> None:
    script = """
        import sys, threading
        from backend.cli.console import Canceller, JsonLinesConsole
        console = JsonLinesConsole("1")
        canceller = Canceller(console)
        canceller.cancel()
        canceller.disarm()
        console.finish("well", {})
        canceller.cancel()
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join()
        sys.exit(0)
    """
    answer = run_python(script)
    assert answer.returncode == 0 and [type(m) for m in decode_lines(answer.stdout)] == [Hello, Result]


def test_process_ends_when_its_reader_is_gone() -> None:
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
    assert child.wait(TIMEOUT_SECONDS) == 130 and b"Traceback" not in child.stderr.read()


def test_terminal_prints_stages_and_raises_on_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    errors, output = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr(sys, "stdout", output)
    console = TerminalConsole()
    for done in range(4):
        console.progress("find_face", done, 3)
    console.note("12 frames were left out.")
    console.progress("train", 0, 1, "Training the mouth")
    console.progress("train", 1, 9, "Training the mouth")
    console.finish("Jane is in jane.actor.", {})
    assert errors.getvalue().splitlines() == ["Find face", "12 frames were left out.", "Training the mouth"]
    assert output.getvalue() == "Jane is in jane.actor.\n"
    console.is_cancelled = True
    with pytest.raises(Cancelled):
        console.progress("train", 1, 9)


def test_terminal_bar_shows_only_the_estimated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    errors, estimates = Terminal(), iter([-1.0, -1.0, 150.0, -1.0])
    monkeypatch.setattr(sys, "stderr", errors)
    console = TerminalConsole()
    monkeypatch.setattr(console.eta_estimator, "estimate_eta", lambda *_: next(estimates))
    shown = []
    for done in range(4):
        console.progress("train", done, 3000)
        console._progress_bar.refresh()
        shown.append(errors.getvalue().rpartition("\r")[2])
    # tqdm's own estimate would be shown as [elapsed<left, rate]
    assert not any("<" in text or "?" in text for text in shown), (
        "tqdm's own estimate would be shown as [elapsed<left, rate]"
    )
    assert ["left" in text for text in shown] == [False, False, True, False]
    assert "whole job 2:30 left" in shown[2]


def test_terminal_bar_shows_stage_count_and_error(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = Terminal()
    monkeypatch.setattr(sys, "stderr", errors)
    console = TerminalConsole()
    console.progress("render", 0, 4)
    console.progress("render", 4, 4)
    console.fail(Error("job", "disk_full", "The disk is full.", "Free some space.", "a.log"))
    shown = errors.getvalue()
    assert "Render" in shown and "4/4" in shown
    assert shown.endswith("Error: The disk is full. Free some space.\nThe details are in a.log\n")


def test_result_data_becomes_plain_json() -> None:
    data = {"a": np.float32(0.5), "b": np.int64(3), "c": float("inf"), "d": [Path("x"), (1, None)], 5: True}
    assert json.loads(json.dumps(to_json_value(data), allow_nan=False)) == {
        "a": 0.5, "b": 3, "c": None, "d": ["x", [1, None]], "5": True,
    }  # fmt: skip


def test_duration_is_formatted_with_hours_if_needed() -> None:
    assert [format_duration(s) for s in (0, 59.6, 75, 3600, 36061)] == ["0:00", "1:00", "1:15", "1:00:00", "10:01:01"]


@pytest.mark.parametrize(
    ("gpu", "gsplat", "requested", "expected"),
    [(True, True, "auto", "cuda"), (True, True, "cuda", "cuda"), (True, True, "cpu", "cpu"),
     (True, False, "auto", "cpu"), (True, False, "cuda", "no_gsplat"), (False, True, "auto", "cpu"),
     (False, True, "cuda", "no_cuda"), (True, True, "tpu", "bad_device")],
)  # fmt: skip
def test_requested_device_is_returned_or_refused(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, gsplat: bool, requested: str, expected: str
) -> None:
    """A device named by the user is never replaced by another."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(device, "has_gsplat", lambda: gsplat)
    try:
        chosen = device.choose_device(requested).type
    except UserError as error:
        chosen = error.code
    assert chosen == expected


def test_doctor_names_missing_and_outdated_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "librosa":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "scipy" else real(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    report = doctor.diagnose()
    found: dict[str, dict[str, Any]] = {f["what"]: f for f in report["findings"]}
    assert not report["ok"] and not found["librosa"]["ok"] and not found["scipy"]["ok"] and found["numpy"]["ok"]
    table = doctor.format_report(report)
    assert "MISSING  librosa" in table and "1.0 (wanted: " in table and "Set up the backend again" in table


def test_doctor_works_without_the_project_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "PYPROJECT_PATH", tmp_path / "none.toml")
    assert any(f["what"] == "face tracker" for f in doctor.diagnose()["findings"])


def test_doctor_names_a_missing_file_of_the_phone_recognizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("means", "variances", "mdef"):
        (tmp_path / name).touch()
    monkeypatch.setattr(doctor, "SPEECH_MODEL_FOLDER", tmp_path)
    report = doctor.diagnose()
    found: dict[str, dict[str, Any]] = {f["what"]: f for f in report["findings"]}
    assert not report["ok"] and found["phone recogniser"]["state"] == "missing: sendump"


def constant_named(path: str, name: str) -> ast.expr:
    """Return the value of a module's constant without importing the module."""
    for node in ast.parse((REPO / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise AssertionError(f"{path} has no constant {name}")


def option_choices(path: str, option: str) -> tuple[str, ...]:
    """Return the choices of an argparse option in a module that is not imported."""
    for node in ast.walk(ast.parse((REPO / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.args[0]) == repr(option):
            return tuple(ast.literal_eval(next(word.value for word in node.keywords if word.arg == "choices")))
    raise AssertionError(f"{path} has no option {option}")


def test_all_lists_of_presets_have_the_same_names() -> None:
    sidebar = [item[0] for item in ast.literal_eval(constant_named("addon/properties.py", "PRESET_ITEMS"))]
    assert sorted(PRESET_NAMES) == sorted(sidebar)
    assert option_choices("build.py", "--preset") == PRESET_NAMES
    assert tuple(PRESETS) == PRESET_NAMES


def test_default_sample_is_that_of_its_options() -> None:
    options, expected = build_parser().parse_args(["sample", "clip.mp4"]), SampleOptions()
    assert (options.seconds, options.size, options.seed) == (expected.seconds, expected.size, expected.seed)
