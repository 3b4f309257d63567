"""`build.py`: its zip, its words, its way to find a Python and to end its children."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest
from child import TIMEOUT_SECONDS

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


def build(*arguments: str, python: str = sys.executable, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs `build.py` as a person does."""
    command = [python, str(ROOT / "build.py"), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=TIMEOUT_SECONDS, **options)  # type: ignore[call-overload,no-any-return]


def one_sentence(ended: subprocess.CompletedProcess[str]) -> str:
    """What a failure said: not a traceback, but one line on standard error."""
    assert "Traceback" not in ended.stderr + ended.stdout
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    return ended.stderr.strip()


# The zip


def test_the_zip_has_what_blender_needs_and_nothing_else(tmp_path: Path) -> None:
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


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = package.build_archive(tmp_path / "a"), package.build_archive(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in (tmp_path / "a").iterdir()] == [first.name]


def test_the_version_is_said_once_and_the_same() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["version"] == __version__
    assert manifest["schema_version"] == "1.0.0" and manifest["blender_version_min"] >= "4.2.0"


def test_two_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "__version__", "99.0.0")
    with pytest.raises(UserError) as caught:
        package.build_archive(tmp_path)
    assert caught.value.code == "versions_differ" and not list(tmp_path.iterdir())


# Pythons


def test_a_python_of_this_version_is_this_one() -> None:
    version = (sys.version_info[0], sys.version_info[1])
    assert pythons.find_python((version,)) == sys.executable
    assert pythons.find_python(((2, 1),)) is None


def test_a_python_on_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called `python9.9` that says it is one; beside it a broken one, as shims are, that is passed over."""
    if os.name == "nt":
        pytest.skip("a shell script is no program on Windows")
    for folder, text in (("a", "exit 1"), ("b", 'echo "9 9 /somewhere/with a space/python9.9"')):
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / ("python9.9" if folder == "b" else "python3")
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}{os.pathsep}{os.environ['PATH']}")
    assert pythons.find_python(((9, 9),)) == "/somewhere/with a space/python9.9"


@pytest.mark.parametrize("version", [(3, 8), (3, 9), (3, 10), (3, 13)])
def test_another_python_hands_over(version: tuple[int, int]) -> None:
    other = pythons.find_python((version,))
    if other is None:
        pytest.skip(f"no Python {version[0]}.{version[1]} on this machine")
    ended = build("run", "there is no such.mp4", python=other)
    assert ended.returncode == 2 and "no such.mp4" in one_sentence(ended)


def test_without_a_fitting_python_it_says_which(tmp_path: Path) -> None:
    other = pythons.find_python(((3, 8), (3, 9), (3, 10), (3, 13)))
    if other is None or os.name == "nt":
        pytest.skip("no other Python on this machine")
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)}
    ended = build("setup", python=other, env=bare)
    if ended.returncode == 0:
        pytest.skip("a Python 3.11 or 3.12 stands in a system folder")
    assert ended.returncode == 2 and "3.11 or 3.12" in one_sentence(ended)


# What people read


def test_readme_names_what_there_is() -> None:
    """Every command of `build.py` and of the backend that README shows exists, and it shows all of `build.py`'s."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = set(re.findall(r"build\.py ([a-z]+)", build("--help").stdout))
    shown = set(re.findall(r"build\.py ([a-z]+)", readme))
    assert shown <= verbs and {verb for verb in verbs if f"| `{verb}" in readme} == verbs
    commands = set(re.findall(r"-m backend ([a-z]+)", readme))
    known = subprocess.run([sys.executable, "-m", "backend", "--help"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert commands and all(re.search(rf"^ +{command} ", known.stdout, re.MULTILINE) for command in commands)
    for option in re.findall(r"[ `](--[a-z][a-z-]*)", readme):
        sources = [ROOT / "build.py", ROOT / "backend" / "cli" / "commands.py", ROOT / "addon" / "cli.py"]
        known_to_blender = option in ("--command", "--python")
        assert known_to_blender or any(option in source.read_text(encoding="utf-8") for source in sources), option


# Bad input


def test_help_names_every_verb() -> None:
    ended = build("--help")
    assert ended.returncode == 0
    for verb in ("demo", "run", "test", "setup", "package", "install", "bench", "wheels"):
        assert f"build.py {verb}" in ended.stdout


def test_a_missing_video_is_one_sentence(tmp_path: Path) -> None:
    ended = build("run", str(tmp_path / "Zoë's “clip” 日本.mp4"), "--out", str(tmp_path / "out"))
    assert ended.returncode == 2 and "日本.mp4" in one_sentence(ended)
    assert not (tmp_path / "out").exists()


def test_missing_audio_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    ended = build(
        "run", str(tmp_path / "clip.mp4"), "--audio", str(tmp_path / "no.wav"), "--out", str(tmp_path / "out")
    )
    assert ended.returncode == 2 and "no.wav" in one_sentence(ended)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    ended = build("run", str(tmp_path / "clip.mp4"), "--out", str(tmp_path / "clip.mp4" / "out"))
    assert ended.returncode == 2 and "--out" in one_sentence(ended)


@pytest.mark.parametrize("name", ["a/b", "..", "."])
def test_a_name_that_is_no_file_name_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "clip.mp4").touch()
    ended = build("run", str(tmp_path / "clip.mp4"), "--name", name, "--out", str(tmp_path / "out"))
    assert ended.returncode == 2 and "--name" in one_sentence(ended)


def test_a_file_that_is_no_video_is_one_sentence_and_makes_nothing(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_text("This is a text.")
    ended = build("run", str(clip), "--out", str(tmp_path / "out"))
    assert ended.returncode == 2 and "clip.mp4" in one_sentence(ended)
    assert not (tmp_path / "out" / "clip.mp4").exists() and not (tmp_path / "out" / "figures.json").exists()


def test_the_footage_is_never_overwritten(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"precious")
    ended = build("run", str(clip), "--out", str(tmp_path))
    assert ended.returncode == 2 and "--out" in one_sentence(ended)
    assert clip.read_bytes() == b"precious" and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_seen_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(UserError) as caught:
        pipeline.make_output_folder(tmp_path / "out")
    assert caught.value.code == "disk_full"


def test_installing_without_a_blender_is_one_sentence(tmp_path: Path) -> None:
    ended = build("install", "--blender", str(tmp_path / "blender"))
    assert ended.returncode == 2 and "Install from Disk" in one_sentence(ended)


# Children


def test_a_step_hands_on_its_exit_code() -> None:
    processes.run_step([sys.executable, "-c", "pass"])
    for code in (1, 7, 130):
        with pytest.raises(processes.StepFailedError) as caught:
            processes.run_step([sys.executable, "-c", f"raise SystemExit({code})"])
        assert caught.value.code == code


def test_a_killed_step_is_told_as_such() -> None:
    if os.name == "nt":
        pytest.skip("Windows knows no signals")
    with pytest.raises(UserError) as caught:
        processes.run_step([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
    assert caught.value.code == "killed" and "memory" in caught.value.remedy


def test_a_program_that_never_ends_is_ended() -> None:
    assert (
        processes.run_program([sys.executable, "-c", "import threading; threading.Event().wait()"], timeout_seconds=0.5)
        == 124
    )


def test_a_foreign_python_home_does_not_reach_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "nowhere")
    monkeypatch.setenv("PYTHONPATH", "nowhere")
    assert not {"PYTHONHOME", "PYTHONPATH"} & set(processes.child_environment())
    assert processes.child_environment(PORTRAIT_ACTOR_PYTHON=Path("p"))["PORTRAIT_ACTOR_PYTHON"] == "p"


CHILD = """
import pathlib, signal, sys, time
place = pathlib.Path(sys.argv[1])
def stop(number, frame):
    (place / "ended").write_text("in order")
    raise SystemExit(130)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
(place / "started").touch()
while True:
    time.sleep(1)
"""
PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from tools import processes
processes.raise_on_sigterm()
try:
    processes.run_step([sys.executable, "-c", sys.argv[2], sys.argv[3]])
except processes.StepFailedError as ended:
    raise SystemExit(ended.code)
"""


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_an_interrupt_ends_the_child_in_order(tmp_path: Path, how: str) -> None:
    """Ctrl-C reaches the whole group, as a terminal sends it; SIGTERM only the parent, as a system does."""
    if os.name == "nt":
        pytest.skip("Windows knows no signals")
    command = [sys.executable, "-c", PARENT, str(ROOT), CHILD, str(tmp_path)]
    parent = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, encoding="utf-8")
    try:
        while not (tmp_path / "started").exists():
            assert parent.poll() is None
            time.sleep(0.05)
        if how == "Ctrl-C":
            os.killpg(parent.pid, signal.SIGINT)
        else:
            parent.terminate()
        _, said = parent.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        if parent.poll() is None:
            os.killpg(parent.pid, signal.SIGKILL)
    assert parent.returncode == 130 and "Traceback" not in said
    assert (tmp_path / "ended").read_text() == "in order"


# The tests' own verb


def options(**changes: object) -> argparse.Namespace:
    return argparse.Namespace(**{"tier": "all", "bpy": "5.0", "without_desktop": False, "rest": [], **changes})


@pytest.fixture
def tiers(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The tiers' outcomes, to be changed by a test: an exit code, or the reason why a tier cannot be run."""
    outcome: dict[str, object] = {"unit": 0, "blender": 0, "desktop": 0}

    def tier(name: str) -> object:
        def run(_: argparse.Namespace) -> int:
            told = outcome[name]
            if isinstance(told, UserError):
                raise told
            assert isinstance(told, int)
            return told

        return run

    for name in outcome:
        monkeypatch.setattr(run_tests, f"run_{name}_tests", tier(name))
    monkeypatch.delenv("CI", raising=False)
    return outcome


def test_one_failing_tier_fails_the_whole_and_stops_none(
    tiers: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    tiers["unit"] = 1
    assert run_tests.run_tiers(options()) == 1
    said = capsys.readouterr().out
    assert "unit: FAILED" in said and "blender: passed" in said and "desktop: passed" in said


def test_what_cannot_be_run_is_said_and_fails_in_ci(
    tiers: dict[str, object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiers["desktop"] = environments.MissingRequirementError("no_desktop", "There is no screen.", "Buy one.")
    assert run_tests.run_tiers(options()) == 0
    assert "desktop: not run. There is no screen." in capsys.readouterr().out
    assert run_tests.run_tiers(options(tier="desktop")) == 2  # asked for by name
    monkeypatch.setenv("CI", "true")
    assert run_tests.run_tiers(options()) == 2
    assert run_tests.run_tiers(options(without_desktop=True)) == 0


# Benchmarks


def test_figures_get_their_full_names() -> None:
    assert table.run_benchmark("rasterizer", lambda: {"cpu.256.forward_ms": 1, "rasterizer.cpu.x": 2.5}) == {
        "rasterizer.cpu.256.forward_ms": 1.0,
        "rasterizer.cpu.x": 2.5,
    }
    heard = table.run_benchmark("speech_features", lambda: {"sound.lag_ms": 40, "x": 1, "sounds": 2}, ("sound",))
    assert heard == {"sound.lag_ms": 40.0, "speech_features.x": 1.0, "speech_features.sounds": 2.0}
    with pytest.raises(ValueError, match="nan"):
        table.run_benchmark("rasterizer", lambda: {"cpu.256.forward_ms": float("nan")})


def test_the_table_shows_units() -> None:
    shown = table.format_table(
        {"a.forward_ms": 11.234567, "tracking.sample.head_rotation_deg_mean": 1.25, "b.speedup": 3.0}
    )
    assert [line.split() for line in shown.splitlines()] == [
        ["a.forward_ms", "11.23", "ms"],
        ["tracking.sample.head_rotation_deg_mean", "1.25", "°"],
        ["b.speedup", "3"],
    ]


def test_bench_writes_one_flat_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on benchmarks made here, found as the real ones are: by their file."""
    here = tmp_path / "benchmarks"
    here.mkdir()
    for name in ("__init__.py", "table.py"):
        shutil.copy(ROOT / "benchmarks" / name, here / name)
    (here / "good.py").write_text("def run():\n    return {'x_ms': 1.5}\n")
    (here / "two_words.py").write_text("PREFIXES = ('sound',)\n\n\ndef run():\n    return {'sound.y': 2}\n")
    (here / "bad.py").write_text(
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
