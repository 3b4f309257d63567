"""The backend's environment, installed from small wheels that the tests write; no network is used."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from child import TIMEOUT_SECONDS

from backend.contract import protocol
from backend.contract.errors import UserError
from backend.contract.protocol import Error, Hello, Message, Note, Progress, Request, Result
from backend.setup import environment, install, install_torch
from backend.setup.environment import InstallState, environment_python, inspect_environment
from tools import pythons

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "backend" / "setup" / "install.py"


def write_wheel(folder: Path, version: str, name: str = "sprite") -> Path:
    """Write a package that contains only its version and a command `sprite` that prints it."""
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
def wheel_folder(tmp_path: Path) -> Path:
    """A folder of wheels: sprite 1.0 and 2.0."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, "1.0")
    write_wheel(folder, "2.0")
    return folder


def run_installer(
    target: Path, wheel_folder: Path | None, version: str, *options: str, package: str = "sprite", **environment: str
) -> tuple[int, list[Message]]:
    """Run the installer as Blender does; return its exit code and its messages."""
    command = [sys.executable, str(SCRIPT), "--target", str(target), "--pins", f"{package}=={version}", "--json-lines"]
    command += [*options, "--wheels", str(wheel_folder)] if wheel_folder else options
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env={**os.environ, **environment}
    )
    assert process.stdout is not None
    messages = [protocol.decode_message(line) for line in process.stdout]
    code = process.wait(TIMEOUT_SECONDS)
    assert process.stdin is not None
    process.stdin.close()
    return code, messages


def run_code(target: Path, code: str) -> str:
    """Return what the environment's Python prints for `code`."""
    command = [str(environment_python(target)), "-I", "-c", code]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.strip()


def list_siblings(target: Path) -> list[str]:
    """Return the environment's name and those of files beside it that begin with it."""
    return sorted(p.name for p in target.parent.iterdir() if p.name.startswith(target.name))


def test_environment_is_installed_upgraded_and_kept_when_an_upgrade_fails(tmp_path: Path, wheel_folder: Path) -> None:
    target = tmp_path / "Umgebung — «日本»" / "env"

    code, messages = run_installer(target, wheel_folder, "1.0")
    assert code == 0
    assert isinstance(messages[0], Hello)
    assert {m.stage for m in messages if isinstance(m, Progress)} == {"environment", "packages"}
    assert isinstance(messages[-1], Result) and messages[-1].data["python"] == str(environment_python(target))
    assert run_code(target, "import sprite; print(sprite.VERSION)") == "1.0"
    assert inspect_environment(target, ["sprite==1.0"]) is InstallState.READY
    assert list_siblings(target) == ["env", "env.log"] and not (target / ".incomplete").exists()

    (target.parent / "env.log").unlink()
    code, messages = run_installer(target, wheel_folder, "1.0")  # nothing to do
    assert code == 0 and list_siblings(target) == ["env"]
    assert not [m for m in messages if isinstance(m, Progress)]

    code, _ = run_installer(target, wheel_folder, "2.0")
    assert code == 0
    assert run_code(target, "import sprite; print(sprite.VERSION)") == "2.0"
    assert list_siblings(target) == ["env", "env.log"]
    if os.name != "nt":  # the command scripts start this environment's Python, not the one in the build folder
        assert subprocess.run([target / "bin" / "sprite"], capture_output=True, text=True).stdout.strip() == "2.0"

    code, messages = run_installer(target, wheel_folder, "3.0")
    assert code == 2
    error = messages[-1]
    assert isinstance(error, Error) and error.code == "no_wheel" and "sprite==3.0" in error.message and error.remedy
    assert Path(error.log).read_text(encoding="utf-8")
    assert run_code(target, "import sprite; print(sprite.VERSION)") == "2.0"
    assert inspect_environment(target, ["sprite==2.0"]) is InstallState.READY
    assert list_siblings(target) == ["env", "env.log"]

    target.rename(target.with_name("env.old"))  # as after an upgrade that was killed between its two renames
    code, _ = run_installer(target, wheel_folder, "2.0")
    assert code == 0 and run_code(target, "import sprite; print(sprite.VERSION)") == "2.0"
    assert "env.old" not in list_siblings(target)


def test_rebuild_replaces_a_broken_environment_only_on_success(tmp_path: Path, wheel_folder: Path) -> None:
    target = tmp_path / "env"
    assert run_installer(target, wheel_folder, "1.0")[0] == 0
    broken = Path(run_code(target, "import sprite; print(sprite.__file__)"))
    broken.unlink()
    (tmp_path / "nothing").mkdir()
    code, messages = run_installer(target, tmp_path / "nothing", "1.0", "--again")
    assert code == 2 and isinstance(messages[-1], Error) and list_siblings(target) == ["env", "env.log"]
    assert inspect_environment(target, ["sprite==1.0"]) is InstallState.READY and not broken.exists()
    assert run_installer(target, wheel_folder, "1.0", "--again")[0] == 0
    assert run_code(target, "import sprite; print(sprite.VERSION)") == "1.0" and list_siblings(target) == [
        "env",
        "env.log",
    ]


def test_torch_is_installed_from_the_given_index(tmp_path: Path) -> None:
    index_folder = tmp_path / "index" / "torch"
    index_folder.mkdir(parents=True)
    wheel = write_wheel(index_folder, "0.0.9+cpu", "torch")
    (index_folder / "index.html").write_text(f'<a href="{quote(wheel.name)}">{wheel.name}</a>')
    target = tmp_path / "env"
    code, messages = run_installer(
        target, None, "0.0.9", "--torch-index", index_folder.parent.as_uri(), package="torch"
    )
    assert code == 0, messages[-1]
    assert run_code(target, "import torch; print(torch.VERSION)") == "0.0.9+cpu"


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
def test_torch_index_depends_on_system_and_build(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, cuda: bool, ending: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert install_torch.torch_index_url(cuda) == (install_torch.PYTORCH_INDEX_URL + ending if ending else "")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", False),
        ("global.timeout='60'\ninstall.cert='/etc/studio.pem'", False),
        ("global.index-url='https://pypi.studio/simple'", True),
        (":env:.find-links='/opt/wheels'", True),
        (":env:.extra-index-url=''", False),
    ],
)
def test_custom_index_is_found_in_pip_settings(settings: str, expected: bool) -> None:
    assert install_torch.has_custom_index(settings) is expected


def test_missing_cuda_toolkit_is_noted_before_the_installation(tmp_path: Path, wheel_folder: Path) -> None:
    no_toolkit = {"PATH": str(tmp_path), "CUDA_HOME": "", "CUDA_PATH": ""}
    code, messages = run_installer(tmp_path / "env", wheel_folder, "1.0", "--device", "cuda", **no_toolkit)
    assert code == 0
    assert isinstance(messages[1], Note) and "nvcc" in messages[1].message
    assert not [
        m for m in run_installer(tmp_path / "other", wheel_folder, "1.0", "--device", "cpu")[1] if isinstance(m, Note)
    ]


def test_interrupted_installation_is_started_again(tmp_path: Path, wheel_folder: Path) -> None:
    target = tmp_path / "env"
    (target / "lib").mkdir(parents=True)
    (target / ".incomplete").touch()
    (target / "lib" / "half.py").write_text("half")
    assert inspect_environment(target, ["sprite==1.0"]) is InstallState.INCOMPLETE
    code, _ = run_installer(target, wheel_folder, "1.0")
    assert code == 0 and inspect_environment(target, ["sprite==1.0"]) is InstallState.READY
    assert not (target / "lib" / "half.py").exists()


def test_failed_first_installation_leaves_only_its_log(tmp_path: Path, wheel_folder: Path) -> None:
    code, messages = run_installer(tmp_path / "env", wheel_folder, "9.9")
    assert code == 2 and isinstance(messages[-1], Error)
    assert list_siblings(tmp_path / "env") == ["env.log"]


def test_missing_network_is_reported(tmp_path: Path) -> None:
    """pip uses a port of this machine on which nothing listens."""
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}
    no_other_source = {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "NO_PROXY": "127.0.0.1"}
    code, messages = run_installer(tmp_path / "env", None, "1.0", **index, **no_other_source)
    error = messages[-1]
    assert code == 2 and isinstance(error, Error) and error.code == "no_network"
    assert "wheels" in error.remedy


def test_installation_is_cancelled_when_its_input_closes(tmp_path: Path, wheel_folder: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--target", str(tmp_path / "env"), "--pins", "sprite==1.0", "--json-lines"]
    completed = subprocess.run(
        [*command, "--wheels", str(wheel_folder)],
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    error = protocol.decode_message(completed.stdout.splitlines()[-1])
    assert completed.returncode == 130 and isinstance(error, Error) and error.code == "cancelled"
    assert "Traceback" not in completed.stderr
    assert not (tmp_path / "env").exists()


def test_installation_is_cancelled_on_request(tmp_path: Path, wheel_folder: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--target", str(tmp_path / "env"), "--pins", "sprite==1.0", "--json-lines"]
    process = subprocess.Popen(
        [*command, "--wheels", str(wheel_folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stdin is not None and process.stdout is not None
    assert isinstance(protocol.decode_message(process.stdout.readline()), Hello)
    process.stdin.write("not a message\n" + protocol.encode_message(Request("job", "cancel")) + "\n")
    process.stdin.flush()
    last = protocol.decode_message(process.stdout.read().splitlines()[-1])
    assert process.wait(TIMEOUT_SECONDS) == 130 and isinstance(last, Error) and last.code == "cancelled"


def test_foreign_folder_is_refused_and_left_unchanged(tmp_path: Path, wheel_folder: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"jpeg")
    (tmp_path / "notes").write_text("mine")
    for name in ("holiday", "notes"):
        code, messages = run_installer(tmp_path / name, wheel_folder, "1.0")
        assert code == 2 and isinstance(messages[-1], Error) and messages[-1].code == "not_an_environment"
    assert (tmp_path / "holiday" / "photo.jpg").read_bytes() == b"jpeg" and (tmp_path / "notes").read_text() == "mine"
    assert len(list((tmp_path / "holiday").iterdir())) == 1


def test_venv_made_by_hand_is_adopted_if_it_has_the_pins(tmp_path: Path, wheel_folder: Path) -> None:
    target = tmp_path / "env"
    venv.create(target)
    assert not environment.adopt_environment(target, ["sprite==1.0"])
    site = Path(run_code(target, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    with zipfile.ZipFile(wheel_folder / "sprite-1.0-py3-none-any.whl") as wheel:
        wheel.extractall(site)
    before = sorted(p.name for p in site.iterdir())
    code, _ = run_installer(target, wheel_folder, "2.0")
    assert code == 2 and not (target / ".complete").exists()  # another version, which must not be changed
    code, _ = run_installer(target, wheel_folder, "1.0")
    assert code == 0 and inspect_environment(target, ["sprite==1.0"]) is InstallState.READY
    assert sorted(p.name for p in site.iterdir()) == before


def test_state_follows_from_markers_and_python(tmp_path: Path) -> None:
    target = tmp_path / "env"
    assert inspect_environment(target, ["a==1"]) is InstallState.ABSENT
    target.mkdir()
    assert inspect_environment(target, ["a==1"]) is InstallState.ABSENT
    (target / "file").touch()
    assert inspect_environment(target, ["a==1"]) is InstallState.FOREIGN
    (target / ".complete").write_text("{")
    assert inspect_environment(target, ["a==1"]) is InstallState.FOREIGN
    (target / ".complete").write_text(json.dumps({"pins": ["a==1", "b==2"]}))
    assert inspect_environment(target, ["a==1"]) is InstallState.INCOMPLETE  # its Python is missing
    environment_python(target).parent.mkdir(parents=True)
    environment_python(target).touch()
    assert inspect_environment(target, ["a==1"]) is InstallState.READY
    assert inspect_environment(target, ["a==2"]) is InstallState.OUTDATED
    (target / ".incomplete").touch()
    assert inspect_environment(target, ["a==1"]) is InstallState.INCOMPLETE


def test_full_disk_is_reported_before_the_installation(
    tmp_path: Path, wheel_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(install_torch.MIN_FREE_BYTES, False, 1e18)
    source = install.PackageSource(wheel_folder)
    with pytest.raises(UserError) as caught:
        install.Installation(tmp_path / "env", ["sprite==1.0"], source, lambda message: None).run()
    assert caught.value.code == "disk_full" and not (tmp_path / "env").exists()


def test_target_below_a_file_is_reported(tmp_path: Path, wheel_folder: Path) -> None:
    (tmp_path / "file").touch()
    code, messages = run_installer(tmp_path / "file" / "env", wheel_folder, "1.0")
    assert code == 2 and isinstance(messages[-1], Error) and messages[-1].code == "read_only"


def test_missing_wheel_folder_is_reported(tmp_path: Path) -> None:
    code, messages = run_installer(tmp_path / "env", tmp_path / "none", "1.0")
    assert code == 2 and isinstance(messages[-1], Error) and messages[-1].code == "missing_file"


def test_pins_are_exact_versions() -> None:
    all_pins = install.read_requirements(include_dev=True, include_cuda=True)
    assert all(pin.count("==") == 1 for pin in all_pins)
    assert set(install.read_requirements()) < set(all_pins)
    assert [pin for pin in install.read_requirements() if pin.startswith(("torch==", "numpy=="))]


def test_supported_pythons_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    low, high = install.SUPPORTED_PYTHONS[0], install.SUPPORTED_PYTHONS[-1]
    assert project["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1] + 1}"
    assert pythons.BACKEND_VERSIONS == install.SUPPORTED_PYTHONS


def test_unsupported_python_is_refused() -> None:
    other = pythons.find_python(((3, 13), (3, 10), (3, 14)))
    if other is None or other == sys.executable:
        pytest.skip("no Python 3.10, 3.13 or 3.14 on this machine")
    completed = subprocess.run([other, str(SCRIPT), "--target", "never_made"], capture_output=True, encoding="utf-8")
    assert completed.returncode == 2 and "3.11 or 3.12" in completed.stderr and "Traceback" not in completed.stderr
