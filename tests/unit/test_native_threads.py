"""The settings of native libraries, which they read only when they are loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SCRIPT = """
import runpy, sys
from backend.setup import device

configure, loaded = device.configure_native_threads, []

def record_and_configure():
    loaded.append("numpy" in sys.modules)
    configure()

device.configure_native_threads = record_and_configure
sys.argv = ["backend", "--version"]
try:
    runpy.run_module("backend", run_name="__main__")
finally:
    print("numpy was loaded before:", loaded[0])
"""


def test_backend_configures_native_threads_before_it_loads_numpy() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=REPO, capture_output=True, text=True, check=True, timeout=300
    )
    assert "numpy was loaded before: False" in answer.stdout
