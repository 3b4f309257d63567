"""The backend's environment, made for real from small wheels that the tests write: no network is used."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import subprocess
import sys
import threading
import time
import tomllib
import venv
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest

from backend.contract import protocol
from backend.contract.errors import Cancelled, UserError
from backend.contract.protocol import Error, Hello, Message, Note, Progress, Request, Result
from backend.setup import install, install_pip, install_torch
from backend.setup.install import InstallState
from tools import pythons

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "backend" / "setup" / "install.py"


def write_wheel(folder: Path, version: str, name: str = "sprite") -> Path:
    """A package whose version is its only content, with a command `sprite` that prints it."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n\n\ndef main():\n    print(VERSION)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\nsprite = {name}:main\n",
    }
    record = ""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text.encode())}\n"
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder of wheels: sprite 1.0 and 2.0."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, "1.0")
    write_wheel(folder, "2.0")
    return folder


def run(
    target: Path, wheels: Path | None, version: str, *options: str, package: str = "sprite", **environment: str
) -> tuple[int, list[Message]]:
    """Runs the installer as Blender does, and returns its exit code and its messages."""
    command = [sys.executable, str(SCRIPT), "--target", str(target), "--pins", f"{package}=={version}", "--json-lines"]
    command += [*options, "--wheels", str(wheels)] if wheels else options
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env={**os.environ, **environment}
    )
    assert process.stdout is not None
    messages = [protocol.decode_message(line) for line in process.stdout]
    code = process.wait(60)
    assert process.stdin is not None
    process.stdin.close()
    return code, messages


def ask(target: Path, code: str) -> str:
    """What the environment's Python prints for `code`."""
    command = [str(install.environment_python(target)), "-I", "-c", code]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.strip()


def beside(target: Path) -> list[str]:
    """What lies beside the environment: traces of an upgrade."""
    return sorted(p.name for p in target.parent.iterdir() if p.name.startswith(target.name))


def test_an_environment_from_its_first_day_to_a_failed_upgrade(tmp_path: Path, wheels: Path) -> None:
    target = tmp_path / "Umgebung — «日本»" / "env"

    code, messages = run(target, wheels, "1.0")
    assert code == 0
    assert isinstance(messages[0], Hello)
    assert {m.stage for m in messages if isinstance(m, Progress)} == {"environment", "packages"}
    assert isinstance(messages[-1], Result) and messages[-1].data["python"] == str(install.environment_python(target))
    assert ask(target, "import sprite; print(sprite.VERSION)") == "1.0"
    assert install.inspect_environment(target, ["sprite==1.0"]) is InstallState.READY
    assert beside(target) == ["env", "env.log"] and not (target / ".incomplete").exists()

    (target.parent / "env.log").unlink()
    code, messages = run(target, wheels, "1.0")  # nothing is started when all is there
    assert code == 0 and beside(target) == ["env"]
    assert not [m for m in messages if isinstance(m, Progress)]

    code, _ = run(target, wheels, "2.0")
    assert code == 0
    assert ask(target, "import sprite; print(sprite.VERSION)") == "2.0"
    assert beside(target) == ["env", "env.log"]
    if os.name != "nt":  # its commands start the Python of this environment, not of the place where it was built
        assert subprocess.run([target / "bin" / "sprite"], capture_output=True, text=True).stdout.strip() == "2.0"

    code, messages = run(target, wheels, "3.0")
    assert code == 2
    error = messages[-1]
    assert isinstance(error, Error) and error.code == "no_wheel" and "sprite==3.0" in error.message and error.remedy
    assert Path(error.log).read_text(encoding="utf-8")
    assert ask(target, "import sprite; print(sprite.VERSION)") == "2.0"
    assert install.inspect_environment(target, ["sprite==2.0"]) is InstallState.READY
    assert beside(target) == ["env", "env.log"]

    target.rename(target.with_name("env.old"))  # as if an upgrade had been killed between its two renames
    code, _ = run(target, wheels, "2.0")
    assert code == 0 and ask(target, "import sprite; print(sprite.VERSION)") == "2.0"
    assert "env.old" not in beside(target)


def test_a_broken_environment_is_made_anew_and_stays_if_that_fails(tmp_path: Path, wheels: Path) -> None:
    target = tmp_path / "env"
    assert run(target, wheels, "1.0")[0] == 0
    broken = Path(ask(target, "import sprite; print(sprite.__file__)"))
    broken.unlink()
    (tmp_path / "nothing").mkdir()
    code, messages = run(target, tmp_path / "nothing", "1.0", "--again")
    assert code == 2 and isinstance(messages[-1], Error) and beside(target) == ["env", "env.log"]
    assert install.inspect_environment(target, ["sprite==1.0"]) is InstallState.READY and not broken.exists()
    assert run(target, wheels, "1.0", "--again")[0] == 0
    assert ask(target, "import sprite; print(sprite.VERSION)") == "1.0" and beside(target) == ["env", "env.log"]


def test_torch_comes_from_the_index_that_is_named(tmp_path: Path) -> None:
    shelf = tmp_path / "index" / "torch"
    shelf.mkdir(parents=True)
    wheel = write_wheel(shelf, "0.0.9+cpu", "torch")
    (shelf / "index.html").write_text(f'<a href="{quote(wheel.name)}">{wheel.name}</a>')
    target = tmp_path / "env"
    code, messages = run(target, None, "0.0.9", "--torch-index", shelf.parent.as_uri(), package="torch")
    assert code == 0, messages[-1]
    assert ask(target, "import torch; print(torch.VERSION)") == "0.0.9+cpu"


@pytest.mark.parametrize(
    ("system", "machine", "cuda", "ending"),
    [
        ("Linux", "x86_64", False, "/cpu"),
        ("Linux", "x86_64", True, ""),
        ("Linux", "aarch64", False, ""),
        ("Windows", "AMD64", False, ""),
        ("Windows", "AMD64", True, f"/{install_torch.CUDA_TAG}"),
        ("Darwin", "arm64", False, ""),
    ],
)
def test_the_index_has_the_build(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, cuda: bool, ending: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert install_torch.torch_index_url(cuda) == (install_torch.PYTORCH_INDEX_URL + ending if ending else "")


@pytest.mark.parametrize(
    ("settings", "chooses"),
    [
        ("", False),
        ("global.timeout='60'\ninstall.cert='/etc/studio.pem'", False),
        ("global.index-url='https://pypi.studio/simple'", True),
        (":env:.find-links='/opt/wheels'", True),
        (":env:.extra-index-url=''", False),
    ],
)
def test_a_studios_own_index_decides(settings: str, chooses: bool) -> None:
    assert install_torch.has_custom_index(settings) is chooses


def test_a_gpu_without_the_toolkit_is_told_before_the_work(tmp_path: Path, wheels: Path) -> None:
    without = {"PATH": str(tmp_path), "CUDA_HOME": "", "CUDA_PATH": ""}
    code, messages = run(tmp_path / "env", wheels, "1.0", "--device", "cuda", **without)
    assert code == 0
    assert isinstance(messages[1], Note) and "nvcc" in messages[1].message
    assert not [m for m in run(tmp_path / "other", wheels, "1.0", "--device", "cpu")[1] if isinstance(m, Note)]


def test_a_killed_installation_is_begun_again(tmp_path: Path, wheels: Path) -> None:
    target = tmp_path / "env"
    (target / "lib").mkdir(parents=True)
    (target / ".incomplete").touch()
    (target / "lib" / "half.py").write_text("half")
    assert install.inspect_environment(target, ["sprite==1.0"]) is InstallState.INCOMPLETE
    code, _ = run(target, wheels, "1.0")
    assert code == 0 and install.inspect_environment(target, ["sprite==1.0"]) is InstallState.READY
    assert not (target / "lib" / "half.py").exists()


def test_a_first_installation_that_fails_leaves_nothing_but_its_log(tmp_path: Path, wheels: Path) -> None:
    code, messages = run(tmp_path / "env", wheels, "9.9")
    assert code == 2 and isinstance(messages[-1], Error)
    assert beside(tmp_path / "env") == ["env.log"]


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    """pip is sent to a port of this machine where nothing listens."""
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}
    alone = {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "NO_PROXY": "127.0.0.1"}
    code, messages = run(tmp_path / "env", None, "1.0", **nowhere, **alone)
    error = messages[-1]
    assert code == 2 and isinstance(error, Error) and error.code == "no_network"
    assert "wheels" in error.remedy


def test_it_ends_when_its_input_ends(tmp_path: Path, wheels: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--target", str(tmp_path / "env"), "--pins", "sprite==1.0", "--json-lines"]
    ended = subprocess.run(
        [*command, "--wheels", str(wheels)], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=60
    )
    error = protocol.decode_message(ended.stdout.splitlines()[-1])
    assert ended.returncode == 130 and isinstance(error, Error) and error.code == "cancelled"
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "env").exists()


def test_it_ends_when_it_is_asked_to(tmp_path: Path, wheels: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--target", str(tmp_path / "env"), "--pins", "sprite==1.0", "--json-lines"]
    process = subprocess.Popen(
        [*command, "--wheels", str(wheels)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stdin is not None and process.stdout is not None
    assert isinstance(protocol.decode_message(process.stdout.readline()), Hello)
    process.stdin.write("not a message\n" + protocol.encode_message(Request("job", "cancel")) + "\n")
    process.stdin.flush()
    last = protocol.decode_message(process.stdout.read().splitlines()[-1])
    assert process.wait(60) == 130 and isinstance(last, Error) and last.code == "cancelled"


def test_cancelling_ends_the_whole_family(tmp_path: Path) -> None:
    """A child that starts a child of its own, as pip does when it compiles."""
    inner = "import time; time.sleep(60)"
    start_it = f"p = subprocess.Popen([sys.executable, '-c', {inner!r}])"
    outer = f"import subprocess, sys; {start_it}; print(p.pid, flush=True); p.wait()"
    child, pids = install_pip.ChildProcess(), list[int]()

    def stop(line: str) -> None:
        pids.append(int(line))
        threading.Thread(target=child.cancel).start()

    start = time.monotonic()
    with pytest.raises(Cancelled):
        child.run([sys.executable, "-c", outer], tmp_path / "log", stop)
    assert time.monotonic() - start < 30  # it does not wait for the minute
    if os.name != "nt":
        deadline = time.monotonic() + 5
        while alive(pids[0]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(pids[0])
    with pytest.raises(Cancelled):
        child.run([sys.executable, "-c", "pass"], tmp_path / "log")


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and is not yet collected does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_not_ours_is_left_alone(tmp_path: Path, wheels: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"jpeg")
    (tmp_path / "notes").write_text("mine")
    for name in ("holiday", "notes"):
        code, messages = run(tmp_path / name, wheels, "1.0")
        assert code == 2 and isinstance(messages[-1], Error) and messages[-1].code == "not_an_environment"
    assert (tmp_path / "holiday" / "photo.jpg").read_bytes() == b"jpeg" and (tmp_path / "notes").read_text() == "mine"
    assert len(list((tmp_path / "holiday").iterdir())) == 1


def test_a_venv_made_by_hand_counts_when_it_holds_the_pins(tmp_path: Path, wheels: Path) -> None:
    target = tmp_path / "env"
    venv.create(target)
    assert not install.adopt_environment(target, ["sprite==1.0"])
    site = Path(ask(target, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    with zipfile.ZipFile(wheels / "sprite-1.0-py3-none-any.whl") as wheel:
        wheel.extractall(site)
    before = sorted(p.name for p in site.iterdir())
    code, _ = run(target, wheels, "2.0")
    assert code == 2 and not (target / ".complete").exists()  # another version: it is not ours to change
    code, _ = run(target, wheels, "1.0")
    assert code == 0 and install.inspect_environment(target, ["sprite==1.0"]) is InstallState.READY
    assert sorted(p.name for p in site.iterdir()) == before


def test_the_states(tmp_path: Path) -> None:
    target = tmp_path / "env"
    assert install.inspect_environment(target, ["a==1"]) is InstallState.ABSENT
    target.mkdir()
    assert install.inspect_environment(target, ["a==1"]) is InstallState.ABSENT
    (target / "file").touch()
    assert install.inspect_environment(target, ["a==1"]) is InstallState.FOREIGN
    (target / ".complete").write_text("{")
    assert install.inspect_environment(target, ["a==1"]) is InstallState.FOREIGN
    (target / ".complete").write_text(json.dumps({"pins": ["a==1", "b==2"]}))
    assert install.inspect_environment(target, ["a==1"]) is InstallState.INCOMPLETE  # its Python has gone
    install.environment_python(target).parent.mkdir(parents=True)
    install.environment_python(target).touch()
    assert install.inspect_environment(target, ["a==1"]) is InstallState.READY
    assert install.inspect_environment(target, ["a==2"]) is InstallState.OUTDATED
    (target / ".incomplete").touch()
    assert install.inspect_environment(target, ["a==1"]) is InstallState.INCOMPLETE


def test_a_full_disk_is_seen_before_the_work(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(install_torch.MIN_FREE_BYTES, False, 1e18)
    source = install.PackageSource(wheels)
    with pytest.raises(UserError) as caught:
        install.install(tmp_path / "env", ["sprite==1.0"], source, lambda message: None, install_pip.ChildProcess())
    assert caught.value.code == "disk_full" and not (tmp_path / "env").exists()


def test_a_place_that_cannot_be_made_is_one_sentence(tmp_path: Path, wheels: Path) -> None:
    (tmp_path / "file").touch()
    code, messages = run(tmp_path / "file" / "env", wheels, "1.0")
    assert code == 2 and isinstance(messages[-1], Error) and messages[-1].code == "read_only"


def test_missing_wheels_are_one_sentence(tmp_path: Path) -> None:
    code, messages = run(tmp_path / "env", tmp_path / "none", "1.0")
    assert code == 2 and isinstance(messages[-1], Error) and messages[-1].code == "missing_file"


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk_full", "GB"),
        ("urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool: Read timed out.", "no_network", "wheels"),
        ("WARNING: Retrying after connection broken by 'NameResolutionError(\"Failed to resolve\")'\n"
         "ERROR: No matching distribution found for torch==2.13.0", "no_network", "wheels"),
        ("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))", "bad_certificate", "proxy"),
        ("The virtual environment was not created successfully because ensurepip is not available.", "no_venv", "apt"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no_wheel", "64-bit"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "bad_download", "cache"),
        ("error: subprocess-exited-with-error\n× Building wheel did not run successfully", "no_compiler", "Python"),
        ("ERROR: [WinError 32] The process cannot access the file", "read_only", "Close"),
        ("something\nERROR: a thing that nobody knows\nmore", "install_failed", "env.log"),
        ("", "install_failed", "env.log"),
    ],
)  # fmt: skip
def test_what_pip_says_becomes_one_sentence(said: str, code: str, word: str) -> None:
    error = install_pip.error_from_output(said, None, Path("env.log"))
    assert error.code == code and word in error.remedy
    assert "\n" not in str(error) and "{" not in str(error)


def test_progress_counts_the_wanted_packages() -> None:
    messages: list[Message] = []
    watch = install_pip.PipProgress("packages", ["big_one==1", "other.two==2"], messages.append)
    for line in (
        "Collecting big-one==1", "Downloading big_one-1.whl (100 MB)", "Progress 10 of 100", "Progress 11 of 100",
        "Progress 60 of 100", "Collecting needed>=3", "Requirement already satisfied: other-two==2 in /lib", "noise",
    ):  # fmt: skip
        watch.read_line(line)
    watch.finish()
    progress = [m for m in messages if isinstance(m, Progress)]
    assert [m.done for m in progress] == [1, 1, 1, 1, 1, 2]
    assert {m.total for m in progress} == {2}
    assert [m.message[-4:] for m in progress[2:4]] == ["10 %", "60 %"]


def test_the_pins_are_exact_and_in_one_place() -> None:
    everything = install.read_requirements(include_dev=True, include_cuda=True)
    assert all(pin.count("==") == 1 for pin in everything)
    assert set(install.read_requirements()) < set(everything)
    assert [pin for pin in install.read_requirements() if pin.startswith(("torch==", "numpy=="))]


def test_the_pythons_are_named_alike_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    low, high = install.SUPPORTED_PYTHONS[0], install.SUPPORTED_PYTHONS[-1]
    assert project["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1] + 1}"
    assert pythons.BACKEND_VERSIONS == install.SUPPORTED_PYTHONS


def test_another_python_is_told_so() -> None:
    """The script's own word to a Python that cannot hold the packages, if this machine has such a one."""
    other = pythons.find_python(((3, 13), (3, 10), (3, 14)))
    if other is None or other == sys.executable:
        pytest.skip("no Python 3.10, 3.13 or 3.14 on this machine")
    ended = subprocess.run([other, str(SCRIPT), "--target", "never_made"], capture_output=True, encoding="utf-8")
    assert ended.returncode == 2 and "3.11 or 3.12" in ended.stderr and "Traceback" not in ended.stderr
