"""Backend processes: real children that talk the protocol, hang, die, chatter, and are ended."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bpy
import pytest
from addon_modules import AddonModules
from support import CHILD_PRELUDE, TIMEOUT_SECONDS, is_alive, receive_until, wait_for_exit, write_child_script


@pytest.fixture
def start(addon: AddonModules, tmp_path: Path) -> Iterator[Any]:
    """Starts a child that runs some code after it has said hello."""
    started = []

    def run(code: str, prelude: str = CHILD_PRELUDE) -> Any:
        script = tmp_path / "child.py"
        script.write_text(prelude + code, encoding="utf-8")
        started.append(addon.process.BackendProcess([sys.executable, str(script)], tmp_path / "log.txt"))
        return started[-1]

    yield run
    for child in started:
        child.close(0.2)


def test_messages_arrive_in_order_and_end_with_the_result(start: Any, addon: AddonModules) -> None:
    said = receive_until(start("for i in range(3): say(Progress('job', 'train', i, 3))\nsay(Result('job', {'a': 1}))"))
    assert [m.event for m in said] == ["hello", "progress", "progress", "progress", "result"]
    assert said[-1].data == {"a": 1}


def test_chatter_and_broken_bytes_go_to_the_log(start: Any, addon: AddonModules, tmp_path: Path) -> None:
    code = "sys.stdout.buffer.write(b'WARNING: \\xff chatter\\n{\"event\": 1}\\n'); say(Note('job', 'schön'))\n"
    said = receive_until(start(code + "say(Result('job'))"))
    assert [m.event for m in said] == ["hello", "note", "result"] and said[1].message == "schön"
    log = (tmp_path / "log.txt").read_bytes()
    assert b"chatter" in log and b'{"event": 1}' in log


def test_a_line_without_an_end_and_an_event_without_a_name_do_no_harm(
    start: Any, addon: AddonModules, tmp_path: Path
) -> None:
    code = "for _ in range(64): sys.stdout.buffer.write(b'x' * 2**20)\nprint()\nprint('{\"event\": []}')\n"
    said = receive_until(start(code + "say(Progress('job', 'train', 1, 3, 1.0))\nsay(Result('job'))"))
    assert [m.event for m in said] == ["hello", "progress", "result"]
    assert (tmp_path / "log.txt").stat().st_size < 2**21


def test_a_child_that_dies_is_an_error_with_its_last_words(start: Any) -> None:
    (error,) = receive_until(start("raise SystemExit('the disk is on fire')"))[1:]
    assert error.event == "error" and error.code == "backend_died"
    assert "exit code 1" in error.message and "the disk is on fire" in error.message and error.remedy and error.log


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_child_is_an_error(start: Any) -> None:
    child = start("time.sleep(60)")
    receive_until(child, is_done=bool)
    os.kill(child.pid, signal.SIGKILL)
    (error,) = receive_until(child)
    assert error.code == "backend_died" and "was killed" in error.message


def test_cancel_is_answered_by_the_child(start: Any) -> None:
    child = start("sys.stdin.readline(); say(Error('job', 'cancelled', 'Stopped.')); sys.exit(130)")
    receive_until(child, is_done=bool)
    child.cancel()
    (error,) = receive_until(child)
    assert error.code == "cancelled" and error.message == "Stopped." and wait_for_exit(child.pid)


@pytest.mark.parametrize("deaf", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"])
def test_a_child_that_ignores_cancel_is_ended(
    start: Any, addon: AddonModules, monkeypatch: pytest.MonkeyPatch, deaf: str
) -> None:
    monkeypatch.setattr(addon.process, "CANCEL_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(addon.process.BackendProcess.close, "__defaults__", (0.3,))
    child = start(deaf + "say(Note('job', 'deaf'))\nwhile True: time.sleep(1)")
    receive_until(child, is_done=lambda said: any(m.event == "note" for m in said))
    child.cancel()
    (error,) = receive_until(child)
    assert error.code == "cancelled" and wait_for_exit(child.pid)


def test_a_child_that_never_greets_is_an_error(
    start: Any, addon: AddonModules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addon.process, "HELLO_TIMEOUT_SECONDS", 0.3)
    child = start("import time\nwhile True: time.sleep(1)", prelude="")
    (error,) = receive_until(child)
    assert error.code == "no_answer" and wait_for_exit(child.pid)


def test_another_protocol_is_refused(start: Any) -> None:
    said = receive_until(
        start("import time\ntime.sleep(60)", prelude=CHILD_PRELUDE.replace("Hello()", "Hello(protocol=99)"))
    )
    assert said[-1].code == "other_version"


def test_closing_the_input_ends_the_child(start: Any, addon: AddonModules) -> None:
    """What happens when Blender dies: the operating system closes the pipe."""
    child = start("sys.stdin.read()")
    receive_until(child, is_done=bool)
    child.close()
    assert not is_alive(child.pid)


def test_the_environment_is_clean(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("BLENDER_SECRET", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    said = receive_until(start("import os; say(Result('job', dict(os.environ)))"))
    child = said[-1].data
    assert not {"PYTHONHOME", "PYTHONPATH", "BLENDER_SECRET", "BLENDER_USER_RESOURCES"} & set(child)
    assert child["CUDA_VISIBLE_DEVICES"] == "0" and child["PATH"] == os.environ["PATH"]


def test_a_python_that_cannot_start_is_one_sentence(addon: AddonModules, tmp_path: Path) -> None:
    with pytest.raises(addon.contract.errors.UserError, match="could not be started"):
        addon.process.BackendProcess([str(tmp_path / "python")], tmp_path / "log.txt")


def test_a_job_shows_what_the_panel_draws(addon: AddonModules, tmp_path: Path) -> None:
    code = (
        "say(Progress('job', 'train', 30, 120, 75.0)); say(Note('job', 'The first 3 s show no face.'))\n"
        "sys.stdin.readline(); say(Result('job', {'n': 2}))"
    )
    job = addon.job.start_job(
        addon.job.JobRequest(
            "Create Nora", write_child_script(tmp_path, code), tmp_path, lambda data: f"{data['n']} made"
        )
    )
    assert addon.job.is_busy() and job.status_text == "Starting…"
    end = time.monotonic() + TIMEOUT_SECONDS
    while not job.notes and time.monotonic() < end:
        job.update()
    assert (job.fraction, job.status_text, job.notes) == (0.25, "Train · 1 min left", ["The first 3 s show no face."])
    job.process.cancel()  # only to send a line
    job.wait()
    assert job.state is addon.job.JobState.DONE and job.outcome == "2 made" and not addon.job.is_busy()


def test_waiting_for_a_failed_job_raises_its_sentence(addon: AddonModules, tmp_path: Path) -> None:
    job = addon.job.start_job(
        addon.job.JobRequest(
            "x", write_child_script(tmp_path, "say(Error('job', 'no_face', 'No face.', 'Film again.'))"), tmp_path, str
        )
    )
    with pytest.raises(addon.contract.errors.UserError, match=r"No face\. Film again\."):
        job.wait()
    assert job.state is addon.job.JobState.FAILED and job.error.code == "no_face"


def test_cancelling_a_job(addon: AddonModules, tmp_path: Path) -> None:
    code = "sys.stdin.readline(); say(Error('job', 'cancelled', 'Stopped.'))"
    job = addon.job.start_job(addon.job.JobRequest("x", write_child_script(tmp_path, code), tmp_path, str))
    assert bpy.ops.portrait_actor.cancel_job() == {"FINISHED"}
    assert job.state is addon.job.JobState.CANCELLING and job.status_text == "Cancelling…"
    with pytest.raises(addon.contract.errors.UserError, match="Stopped"):
        job.wait()
    assert job.state is addon.job.JobState.CANCELLED
    with pytest.raises(RuntimeError, match="No job is running"):
        bpy.ops.portrait_actor.cancel_job()


def test_a_bug_after_the_job_does_not_leave_it_running(addon: AddonModules, tmp_path: Path) -> None:
    def finish(data: Any) -> None:
        raise ZeroDivisionError

    job = addon.job.start_job(
        addon.job.JobRequest("x", write_child_script(tmp_path, "say(Result('job'))"), tmp_path, finish)
    )
    with pytest.raises(ZeroDivisionError):
        job.wait()
    assert job.state is addon.job.JobState.FAILED and job.error.code == "bug"


def test_the_timer_takes_the_job_in_and_goes(addon: AddonModules, tmp_path: Path) -> None:
    """Timers do not fire without a window, so the test calls what the timer calls."""
    done = []

    def finish(data: dict[str, Any]) -> str:
        done.append(1)
        return ""

    addon.job.start_job(addon.job.JobRequest("x", write_child_script(tmp_path, "say(Result('job'))"), tmp_path, finish))
    addon.main_thread.start_timer()
    assert bpy.app.timers.is_registered(addon.main_thread._update_job)
    end = time.monotonic() + TIMEOUT_SECONDS
    while addon.main_thread._update_job() is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert done == [1]
    addon.main_thread.stop_timer()
    assert not bpy.app.timers.is_registered(addon.main_thread._update_job)


def test_switching_off_ends_the_job_and_its_timer(addon: AddonModules, tmp_path: Path) -> None:
    import addon_utils
    from support import PACKAGE

    job = addon.job.start_job(
        addon.job.JobRequest("x", write_child_script(tmp_path, "sys.stdin.read()"), tmp_path, str)
    )
    addon.main_thread.start_timer()
    addon_utils.disable(PACKAGE)
    try:
        assert wait_for_exit(job.process.pid) and not bpy.app.timers.is_registered(addon.main_thread._update_job)
    finally:
        addon_utils.enable(PACKAGE)


def test_a_job_that_outlives_its_file_says_so(
    addon: AddonModules, installed: Callable[[str], ModuleType], actor_folder: Path
) -> None:
    """The artist opened another file meanwhile: nothing is put into it."""
    place = installed("addon.operators.operator_base").JobTarget.from_context(bpy.context)
    bpy.ops.wm.read_homefile(use_empty=True)
    importer = installed("addon.operators.import_actor")
    said = importer.import_into_target(place, actor_folder, frame_start=1, match_scene=True)
    assert "is not open" in said and not bpy.data.objects


def test_a_job_finds_its_scene_again(
    addon: AddonModules, installed: Callable[[str], ModuleType], actor_folder: Path
) -> None:
    """The artist renamed it and works in another one."""
    place = installed("addon.operators.operator_base").JobTarget.from_context(bpy.context)
    bpy.context.scene.name = "renamed"
    other = bpy.data.scenes.new("other")
    importer = installed("addon.operators.import_actor")
    bpy.context.window.scene = other
    importer.import_into_target(place, actor_folder, frame_start=1, match_scene=True)
    assert bpy.context.scene == other
    assert "Nora" in bpy.data.scenes["renamed"].objects and "Nora" not in other.objects
    assert bpy.data.scenes["renamed"].render.resolution_x == 320 and other.render.resolution_x == 1920


def test_every_remedy_is_a_button_that_exists(installed: Callable[[str], ModuleType]) -> None:
    for operator, _, settings in installed("addon.panels.job_box").REMEDIES.values():
        group, name = operator.split(".")
        assert set(settings) <= set(getattr(getattr(bpy.ops, group), name).get_rna_type().properties.keys())


@pytest.mark.parametrize("verb", ["create_actor", "speak", "render_actor"])
def test_a_missing_backend_is_one_sentence(
    nora: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    monkeypatch.setenv("PORTRAIT_ACTOR_PYTHON", str(tmp_path / "gone" / "python"))
    file = nora.folder / "audio.wav"
    arguments = {
        "create_actor": {"video": str(file)},
        "speak": {"audio": str(file)},
        "render_actor": {"output": str(tmp_path)},
    }
    with pytest.raises(RuntimeError, match=r"does not exist\. Choose another, or set up the backend\.") as error:
        getattr(bpy.ops.portrait_actor, verb)(**arguments[verb])
    assert len(str(error.value).splitlines()) == 1


def test_set_up_asks_before_it_goes_online(addon: AddonModules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTRAIT_ACTOR_PYTHON")
    if bpy.app.online_access:
        pytest.skip("this Blender may go online")
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.portrait_actor.setup_backend()


def test_set_up_runs_the_installer_and_says_why_it_fails(
    addon: AddonModules, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real installer, offline with an empty folder of wheels: an error, and no environment that looks finished."""
    monkeypatch.delenv("PORTRAIT_ACTOR_PYTHON")
    preferences = addon.rna.get_preferences()
    preferences.cache_folder = str(tmp_path / "cache")
    (tmp_path / "wheels").mkdir()
    try:
        assert addon.environment.read_state() is addon.environment.BackendState.NOT_INSTALLED
        with pytest.raises(RuntimeError) as error:
            bpy.ops.portrait_actor.setup_backend(wheels=str(tmp_path / "wheels"))
        assert len(str(error.value).splitlines()) == 1
        assert addon.environment.read_state() is not addon.environment.BackendState.READY
        assert list((tmp_path / "cache" / "jobs").glob("*-setup/log.txt"))
    finally:
        preferences.cache_folder = ""


def test_a_check_says_what_works(addon: AddonModules) -> None:
    bpy.ops.portrait_actor.check_backend()
    assert addon.job.current_job().outcome.startswith("Everything needed is there; jobs run on ")


def test_a_broken_backend_is_found_by_the_check_and_by_the_first_job(
    addon: AddonModules,
    installed: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    nora: SimpleNamespace,
) -> None:
    """A Python without the backend's packages: what is missing is named, and the button is the one that mends it."""
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    monkeypatch.setenv("PORTRAIT_ACTOR_PYTHON", str(bare / ("Scripts/python.exe" if os.name == "nt" else "bin/python")))
    remedies = installed("addon.panels.job_box").REMEDIES
    for verb, settings in (("check_backend", {}), ("speak", {"audio": str(nora.folder / "audio.wav")})):
        with pytest.raises(RuntimeError, match=r"(torch|numpy).*\. Set up the backend again") as error:
            getattr(bpy.ops.portrait_actor, verb)(**settings)
        assert len(str(error.value).splitlines()) == 1
        assert remedies[addon.job.current_job().error.code][0] == "portrait_actor.setup_backend"


def test_the_states_of_the_backend(addon: AddonModules, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PORTRAIT_ACTOR_PYTHON")
    environment = addon.environment
    preferences = addon.rna.get_preferences()
    preferences.cache_folder = str(tmp_path)
    try:
        python = environment.python_path()
        python.parent.mkdir(parents=True)
        marker = environment.environment_folder() / ".complete"
        assert environment.read_state() is environment.BackendState.INCOMPLETE
        python.touch()
        marker.write_text('{"pins": ["torch==0.1"]}')
        assert environment.read_state() is environment.BackendState.OUTDATED
        marker.write_text(json.dumps({"pins": environment.required_packages(has_cuda=False)}))
        assert environment.read_state() is environment.BackendState.READY
        preferences.device = "cuda"
        assert environment.read_state() is environment.BackendState.OUTDATED and environment.require_python() == python
        assert "GPU" in environment.describe_setup_cost()
        preferences.device = "cpu"
        assert environment.read_state() is environment.BackendState.READY and "CPU" in environment.describe_setup_cost()
        (environment.environment_folder() / ".incomplete").touch()
        assert environment.read_state() is environment.BackendState.INCOMPLETE
        preferences.backend_python = str(python)
        assert environment.read_state() is environment.BackendState.READY
        preferences.backend_python = str(tmp_path / "gone")
        assert environment.read_state() is environment.BackendState.PYTHON_NOT_FOUND
    finally:
        preferences.cache_folder = preferences.backend_python = ""
        preferences.device = "auto"


def test_old_job_folders_are_cleared_away(addon: AddonModules, tmp_path: Path) -> None:
    preferences = addon.rna.get_preferences()
    preferences.cache_folder = str(tmp_path)
    try:
        folders = [addon.environment.make_job_folder("test") for _ in range(addon.environment.MAX_JOB_FOLDERS + 3)]
    finally:
        preferences.cache_folder = ""
    assert [f.exists() for f in folders] == [False] * 3 + [True] * addon.environment.MAX_JOB_FOLDERS
