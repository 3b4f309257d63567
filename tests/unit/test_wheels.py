"""Every pin has a wheel for every Python and system that the backend supports; uv resolves them as pip would there.

The package index is the one that pip is set up to use. Without a network this is skipped, but never in CI.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from backend.setup.install import SUPPORTED_PYTHONS, read_requirements

# uv's name of each system → whether the CUDA extra is installed there.
SYSTEMS = {"x86_64-pc-windows-msvc": True, "aarch64-apple-darwin": False, "x86_64-unknown-linux-gnu": True}
MACOS = "14.0"  # the oldest macOS for which torch 2.13 has wheels
TIMEOUT_SECONDS = 600  # for one resolution on a slow network or a busy machine
NO_NETWORK = re.compile(r"error sending request|client error \(Connect\)|dns error|Failed to connect|timed out", re.I)


class NoNetworkError(Exception):
    """The package index could not be reached."""


def read_settings(listing: str) -> dict[str, str]:
    """Return pip's settings by name from the output of `pip config list`; later lines replace earlier ones."""
    pairs = [line.partition("=") for line in listing.splitlines() if "=" in line]
    return {name.rpartition(".")[2]: str(ast.literal_eval(value)) for name, _, value in pairs}


def pip_settings() -> dict[str, str]:
    """Return the settings of this Python's pip, from its files and the environment."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    return read_settings(subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout)


def index_options(settings: dict[str, str]) -> list[str]:
    """Return uv's options for the indexes in pip's settings. As in pip, no index has priority."""
    options = ["--no-config", "--index-strategy", "unsafe-best-match"]
    if "index-url" in settings:
        options += ["--default-index", settings["index-url"]]
    for url in settings.get("extra-index-url", "").split():
        options += ["--index", url]
    for folder in settings.get("find-links", "").split():
        options += ["--find-links", folder]
    return options + (["--no-index"] if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else [])


def network_environment(settings: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with pip's certificates and proxy for uv."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    known = {"SSL_CERT_FILE": settings.get("cert"), "HTTPS_PROXY": settings.get("proxy")}
    chosen = {name: value for name, value in known.items() if value}
    return {**inherited, **chosen, "MACOSX_DEPLOYMENT_TARGET": MACOS, "UV_HTTP_RETRIES": "1"}


def resolve(pins: list[str], system: str, python: str, settings: dict[str, str]) -> str:
    """Return what prevents an installation of `pins` from wheels alone, or an empty string.

    Raises:
        NoNetworkError: the package index could not be reached.
    """
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-header", "--only-binary", ":all:"]
    command += [
        "--python",
        sys.executable,
        "--python-platform",
        system,
        "--python-version",
        python,
        *index_options(settings),
    ]
    completed = subprocess.run(
        command, input="\n".join(pins), capture_output=True, encoding="utf-8", timeout=TIMEOUT_SECONDS,
        env=network_environment(settings),
    )  # fmt: skip
    if completed.returncode == 0:
        return ""
    if "No solution found" not in completed.stderr and NO_NETWORK.search(completed.stderr):
        raise NoNetworkError(completed.stderr.strip().splitlines()[-1])
    return completed.stderr.strip() or f"uv ended with exit code {completed.returncode}"


@pytest.mark.parametrize("python", [f"{major}.{minor}" for major, minor in SUPPORTED_PYTHONS])
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_pin_has_a_wheel(system: str, python: str) -> None:
    pins = read_requirements(include_dev=True, include_cuda=SYSTEMS[system])
    try:
        reason = resolve(pins, system, python, pip_settings())
    except NoNetworkError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the package index cannot be reached: {error}")
    assert not reason, reason


def write_wheel(folder: Path, tag: str) -> None:
    """Write an empty package, sprite 1.0, as a wheel for `tag`."""
    info = "sprite-1.0.dist-info"
    with zipfile.ZipFile(folder / f"sprite-1.0-{tag}.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sprite\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize(
    ("system", "python", "has_wheel"),
    [
        ("x86_64-pc-windows-msvc", "3.11", True),
        ("x86_64-pc-windows-msvc", "3.12", False),
        ("x86_64-unknown-linux-gnu", "3.11", False),
    ],
)
def test_pin_without_a_wheel_for_that_python_or_system_is_found(
    tmp_path: Path, system: str, python: str, has_wheel: bool
) -> None:
    write_wheel(tmp_path, "cp311-cp311-win_amd64")
    reason = resolve(["sprite==1.0"], system, python, {"no-index": "true", "find-links": str(tmp_path)})
    assert (reason == "") == has_wheel
    assert has_wheel or "sprite==1.0" in reason


def test_unreachable_index_raises_no_network() -> None:
    with pytest.raises(NoNetworkError):
        resolve(["sprite==1.0"], "x86_64-unknown-linux-gnu", "3.11", {"index-url": "http://127.0.0.1:9/simple"})


def test_pip_settings_become_uv_options() -> None:
    listing = (
        "global.extra-index-url='https://a.example/simple https://b.example/simple'\n"
        "global.index-url='https://old.example/simple'\n"
        ":env:.index-url='https://studio.example/simple'\n"
    )
    options = index_options(read_settings(listing))
    assert [b for a, b in pairwise(options) if a == "--default-index"] == ["https://studio.example/simple"]
    assert [b for a, b in pairwise(options) if a == "--index"] == [
        "https://a.example/simple",
        "https://b.example/simple",
    ]
