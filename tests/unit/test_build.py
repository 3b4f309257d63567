"""`build.py` and `tools`: the zip, messages, finding a Python, child processes, tiers of tests, benchmarks' table."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from child import TIMEOUT_SECONDS

import build
from backend import __version__
from backend.contract.errors import UserError
from benchmarks import table
from tools import environments, package, pipeline, processes, pythons, run_tests

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_process_lock(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own temporary folder, so that it never waits for the creations of other processes."""
    folder = str(tmp_path_factory.mktemp("temporary"))
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, folder)


def run_build(
    *arguments: str, python: str = sys.executable, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `build.py` as a user does."""
    command = [python, str(ROOT / "build.py"), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=TIMEOUT_SECONDS, env=env)


def assert_fails_with(completed: subprocess.CompletedProcess[str], text: str) -> None:
    """Assert that a command failed with a message, not with a traceback."""
    assert completed.returncode == 2, completed.stderr
    assert "Traceback" not in completed.stderr + completed.stdout
    assert text in completed.stderr


# The zip


def test_zip_has_all_files_that_blender_needs_and_no_others(tmp_path: Path) -> None:
    archive = package.build_archive(tmp_path)
    assert archive.name == f"portrait_actor-{__version__}.zip"
    with zipfile.ZipFile(archive) as pack:
        names = pack.namelist()
        assert pack.testzip() is None
        assert pack.read("__init__.py").decode() == package.ENTRY_SOURCE
        assert tomllib.loads(pack.read("blender_manifest.toml").decode())["id"] == "portrait_actor"
        assert b"GNU GENERAL PUBLIC LICENSE" in pack.read("LICENSE")
    assert {"addon/__init__.py", "backend/__main__.py", "backend/setup/install.py", "pyproject.toml"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"addon", "backend", *package.SINGLE_FILES, "__init__.py"}
    assert not [n for n in names if "__pycache__" in n or n.endswith((".pyc", ".part")) or "/." in n or "\\" in n]
    assert names == sorted(names) and len(names) == len(set(names))


def test_same_sources_give_same_bytes(tmp_path: Path) -> None:
    first, second = package.build_archive(tmp_path / "a"), package.build_archive(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in (tmp_path / "a").iterdir()] == [first.name]


def test_manifest_has_the_version_of_the_backend() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["version"] == __version__
    assert manifest["schema_version"] == "1.0.0" and manifest["blender_version_min"] >= "4.2.0"


def test_different_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "__version__", "99.0.0")
    with pytest.raises(UserError) as caught:
        package.build_archive(tmp_path)
    assert caught.value.code == "versions_differ" and not list(tmp_path.iterdir())


# Pythons


def test_find_python_prefers_the_running_python() -> None:
    version = (sys.version_info[0], sys.version_info[1])
    assert pythons.find_python((version,)) == sys.executable
    assert pythons.find_python(((2, 1),)) is None


def test_find_python_finds_a_program_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called `python9.9` that prints this version; a broken one before it on PATH is ignored."""
    if os.name == "nt":
        pytest.skip("Windows does not run shell scripts")
    for folder, text in (("a", "exit 1"), ("b", 'echo "9 9 /somewhere/with a space/python9.9"')):
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / ("python9.9" if folder == "b" else "python3")
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}{os.pathsep}{os.environ['PATH']}")
    assert pythons.find_python(((9, 9),)) == "/somewhere/with a space/python9.9"


def test_ci_installs_the_libraries_that_blender_needs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (libraries,) = re.findall(r'^libraries="(.*)"$', script, re.MULTILINE)
    assert set(libraries.split()) == set(environments.DEBIAN_PACKAGES.values())


def test_blender_versions_are_those_that_can_be_set_up() -> None:
    assert tuple(environments.BPY_RELEASES) == build.BLENDER_VERSIONS


@pytest.mark.parametrize("version", [(3, 8), (3, 9), (3, 10), (3, 13)])
def test_other_python_hands_over_to_a_fitting_one(version: tuple[int, int]) -> None:
    other = pythons.find_python((version,))
    if other is None:
        pytest.skip(f"no Python {version[0]}.{version[1]} on this machine")
    completed = run_build("run", "there is no such.mp4", python=other)
    assert_fails_with(completed, "no such.mp4")


def test_without_fitting_python_names_the_versions(tmp_path: Path) -> None:
    other = pythons.find_python(((3, 8), (3, 9), (3, 10), (3, 13)))
    if other is None or os.name == "nt":
        pytest.skip("no other Python on this machine")
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)}
    completed = run_build("setup", python=other, env=bare)
    if completed.returncode == 0:
        pytest.skip("a system folder has a Python 3.11 or 3.12")
    assert_fails_with(completed, "3.11 nor 3.12")


# Documentation and help


def test_readme_names_only_existing_commands_and_options() -> None:
    """Every command of `build.py` and of the backend that README shows exists, and it shows all of `build.py`'s."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = set(re.findall(r"build\.py ([a-z]+)", run_build("--help").stdout))
    shown = set(re.findall(r"build\.py ([a-z]+)", readme))
    assert shown <= verbs and {verb for verb in verbs if f"| `{verb}" in readme} == verbs
    commands = set(re.findall(r"-m backend ([a-z]+)", readme))
    known = subprocess.run([sys.executable, "-m", "backend", "--help"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert commands and all(re.search(rf"^ +{command} ", known.stdout, re.MULTILINE) for command in commands)
    sources = [ROOT / "build.py", ROOT / "backend" / "cli" / "commands.py", ROOT / "addon" / "cli.py"]
    texts = [source.read_text(encoding="utf-8") for source in sources]
    for option in re.findall(r"[ `](--[a-z][a-z-]*)", readme):
        assert option in ("--command", "--python") or any(option in text for text in texts), option  # Blender's own


# Bad input


def test_help_names_every_verb() -> None:
    completed = run_build("--help")
    assert completed.returncode == 0
    for verb in ("demo", "run", "test", "setup", "package", "install", "bench", "wheels"):
        assert f"build.py {verb}" in completed.stdout


def test_missing_video_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    completed = run_build("run", str(tmp_path / "Zoë's “clip” 日本.mp4"), "--out", str(tmp_path / "out"))
    assert_fails_with(completed, "日本.mp4")
    assert not (tmp_path / "out").exists()


def test_missing_audio_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    completed = run_build(
        "run", str(tmp_path / "clip.mp4"), "--audio", str(tmp_path / "no.wav"), "--out", str(tmp_path / "out")
    )
    assert_fails_with(completed, "no.wav")


def test_output_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    completed = run_build("run", str(tmp_path / "clip.mp4"), "--out", str(tmp_path / "clip.mp4" / "out"))
    assert_fails_with(completed, "--out")


@pytest.mark.parametrize("name", ["a/b", "..", "."])
def test_name_that_cannot_be_a_file_name_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "clip.mp4").touch()
    completed = run_build("run", str(tmp_path / "clip.mp4"), "--name", name, "--out", str(tmp_path / "out"))
    assert_fails_with(completed, "--name")


def test_file_that_is_no_video_is_an_error_and_makes_no_film(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_text("This is a text.")
    completed = run_build("run", str(clip), "--out", str(tmp_path / "out"))
    assert_fails_with(completed, "clip.mp4")
    assert not (tmp_path / "out" / "clip.mp4").exists() and not (tmp_path / "out" / "figures.json").exists()


def test_footage_is_not_overwritten(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"precious")
    completed = run_build("run", str(clip), "--out", str(tmp_path))
    assert_fails_with(completed, "--out")
    assert clip.read_bytes() == b"precious" and len(list(tmp_path.iterdir())) == 1


def test_full_disk_is_an_error_before_the_first_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(UserError) as caught:
        pipeline.make_output_folder(tmp_path / "out")
    assert caught.value.code == "disk_full"


def test_install_with_missing_blender_is_an_error(tmp_path: Path) -> None:
    completed = run_build("install", "--blender", str(tmp_path / "blender"))
    assert_fails_with(completed, "Install from Disk")


# Child processes


def test_failed_step_raises_with_its_exit_code() -> None:
    processes.run_step([sys.executable, "-c", "pass"])
    for code in (1, 7, 130):
        with pytest.raises(processes.StepFailedError) as caught:
            processes.run_step([sys.executable, "-c", f"raise SystemExit({code})"])
        assert caught.value.code == code


def test_killed_step_is_an_error_that_mentions_memory() -> None:
    if os.name == "nt":
        pytest.skip("Windows has no signals")
    with pytest.raises(UserError) as caught:
        processes.run_step([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
    assert caught.value.code == "killed" and "memory" in caught.value.remedy


def test_program_is_stopped_after_its_timeout() -> None:
    endless = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    assert processes.run_program(endless, timeout_seconds=0.5) == 124


def test_child_environment_drops_variables_of_other_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "nowhere")
    monkeypatch.setenv("PYTHONPATH", "nowhere")
    assert not {"PYTHONHOME", "PYTHONPATH"} & set(processes.child_environment())
    assert processes.child_environment(PORTRAIT_ACTOR_PYTHON=Path("p"))["PORTRAIT_ACTOR_PYTHON"] == "p"


# Prints when it listens to signals, and when it has received one.
CHILD = """
import signal, time
def stop(number, frame):
    print("stopped", flush=True)
    raise SystemExit(130)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
print("started", flush=True)
while True:
    time.sleep(1)
"""
PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from tools import processes
processes.raise_on_sigterm()
try:
    processes.run_step([sys.executable, "-c", sys.argv[2]])
except processes.StepFailedError as failure:
    raise SystemExit(failure.code)
"""


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_interrupted_child_can_end_by_itself(how: str) -> None:
    """A terminal sends Ctrl-C to the whole process group; a system sends SIGTERM to the parent only."""
    if os.name == "nt":
        pytest.skip("Windows has no signals")
    command = [sys.executable, "-c", PARENT, str(ROOT), CHILD]
    pipe = subprocess.PIPE
    parent = subprocess.Popen(command, start_new_session=True, stdout=pipe, stderr=pipe, encoding="utf-8")
    try:
        assert parent.stdout is not None and parent.stdout.readline() == "started\n"
        if how == "Ctrl-C":
            os.killpg(parent.pid, signal.SIGINT)
        else:
            parent.terminate()
        output, errors = parent.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        if parent.poll() is None:
            os.killpg(parent.pid, signal.SIGKILL)
    assert parent.returncode == 130 and "Traceback" not in errors
    assert output == "stopped\n"


# Tiers of tests


def make_options(**changes: object) -> argparse.Namespace:
    """The options of `build.py test`."""
    return argparse.Namespace(**{"tier": "all", "bpy": "5.0", "without_desktop": False, "rest": [], **changes})


@pytest.fixture
def tiers(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The outcome of each tier, which a test changes: an exit code, or the reason why it cannot be run."""
    outcomes: dict[str, object] = {"unit": 0, "blender": 0, "desktop": 0}

    def make_tier(name: str) -> Callable[[argparse.Namespace], int]:
        def run(_: argparse.Namespace) -> int:
            outcome = outcomes[name]
            if isinstance(outcome, UserError):
                raise outcome
            assert isinstance(outcome, int)
            return outcome

        return run

    for name in outcomes:
        monkeypatch.setattr(run_tests, f"run_{name}_tests", make_tier(name))
    monkeypatch.delenv("CI", raising=False)
    return outcomes


def test_failing_tier_fails_the_run_but_stops_no_other_tier(
    tiers: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    tiers["unit"] = 1
    assert run_tests.run_tiers(make_options()) == 1
    output = capsys.readouterr().out
    assert "unit: FAILED" in output and "blender: passed" in output and "desktop: passed" in output


def test_tier_that_cannot_run_is_reported_and_fails_only_if_requested_or_in_ci(
    tiers: dict[str, object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiers["desktop"] = environments.MissingRequirementError("no_desktop", "There is no screen.", "Buy one.")
    assert run_tests.run_tiers(make_options()) == 0
    assert "desktop: not run. There is no screen." in capsys.readouterr().out
    assert run_tests.run_tiers(make_options(tier="desktop")) == 2  # asked for by name
    monkeypatch.setenv("CI", "true")
    assert run_tests.run_tiers(make_options()) == 2
    assert run_tests.run_tiers(make_options(without_desktop=True)) == 0


# Benchmarks


def test_figures_get_their_full_names() -> None:
    assert table.run_benchmark("rasterizer", lambda: {"cpu.256.forward_ms": 1, "rasterizer.cpu.x": 2.5}) == {
        "rasterizer.cpu.256.forward_ms": 1.0,
        "rasterizer.cpu.x": 2.5,
    }
    named = table.run_benchmark("speech_features", lambda: {"sound.lag_ms": 40, "x": 1, "sounds": 2}, ("sound",))
    assert named == {"sound.lag_ms": 40.0, "speech_features.x": 1.0, "speech_features.sounds": 2.0}
    with pytest.raises(ValueError, match="nan"):
        table.run_benchmark("rasterizer", lambda: {"cpu.256.forward_ms": float("nan")})


def test_table_shows_units() -> None:
    text = table.format_table(
        {"a.forward_ms": 11.234567, "tracking.sample.head_rotation_deg_mean": 1.25, "b.speedup": 3.0}
    )
    assert [line.split() for line in text.splitlines()] == [
        ["a.forward_ms", "11.23", "ms"],
        ["tracking.sample.head_rotation_deg_mean", "1.25", "°"],
        ["b.speedup", "3"],
    ]


def test_bench_writes_one_flat_json_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on benchmarks that are found by their files, as the real ones are."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    for name in ("__init__.py", "table.py"):
        shutil.copy(ROOT / "benchmarks" / name, folder / name)
    (folder / "good.py").write_text("def run():\n    return {'x_ms': 1.5}\n")
    (folder / "two_words.py").write_text("PREFIXES = ('sound',)\n\n\ndef run():\n    return {'sound.y': 2}\n")
    (folder / "bad.py").write_text(
        "from backend.contract.errors import UserError\n\n\n"
        "def run():\n    raise UserError('no_gpu', 'There is no GPU.')\n"
    )
    command = [sys.executable, "-m", "benchmarks.table", "--json", str(tmp_path / "out" / "figures.json")]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    both = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, encoding="utf-8")
    assert json.loads((tmp_path / "out" / "figures.json").read_text()) == {"good.x_ms": 1.5, "sound.y": 2.0}
    assert both.returncode == 1 and "There is no GPU." in both.stderr and "Traceback" not in both.stderr
    assert subprocess.run([*command, "good"], cwd=tmp_path, env=paths, capture_output=True).returncode == 0
    assert subprocess.run([*command, "two-words"], cwd=tmp_path, env=paths, capture_output=True).returncode == 0
    assert subprocess.run([*command, "other"], cwd=tmp_path, env=paths, capture_output=True).returncode == 2
