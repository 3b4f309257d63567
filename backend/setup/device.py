"""The device that jobs run on: a CUDA GPU where one can be used, else the CPU."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.errors import UserError
from .install_torch import DEVICES, has_cuda_toolkit

if TYPE_CHECKING:
    import torch


# The value is None for all cores of this process. Measured on a 2-core machine; user settings take precedence.
NATIVE_LIBRARY_SETTINGS: dict[str, str | None] = {
    "OMP_NUM_THREADS": None,  # torch uses every core
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin made a training step 4 times slower on a busy machine
    "GOMP_SPINCOUNT": "2000",  # but some microseconds: sleeping at once costs a quarter of the time on an idle one
    "OPENBLAS_NUM_THREADS": "1",  # several threads made a Cholesky factorization of our sizes 20 times slower
    "GLOG_minloglevel": "2",  # mediapipe logs errors only
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow Lite likewise
}


def configure_native_threads() -> None:
    """Set how native libraries use the cores. They read it when they are loaded, so call this before."""
    for name, value in NATIVE_LIBRARY_SETTINGS.items():
        os.environ.setdefault(name, str(core_count()) if value is None else value)


def choose_device(requested: str) -> torch.device:
    """Return the device for "auto", "cpu" or "cuda"; "auto" is the GPU if both it and its rasterizer are available.

    Raises:
        UserError: bad_device; no_cuda or no_gsplat if "cuda" was requested and is not available.
    """
    import torch

    if requested not in DEVICES:
        raise UserError("bad_device", f"There is no device called {requested}.", "Choose auto, cpu or cuda.")
    has_gpu = requested != "cpu" and torch.cuda.is_available()
    if requested == "cuda" and not has_gpu:
        raise no_cuda_error()
    if requested == "cuda" and not has_gsplat():
        raise no_gsplat_error()
    return torch.device("cuda" if has_gpu and has_gsplat() else "cpu")


def no_cuda_error() -> UserError:
    """Return the error of a machine without a GPU that torch can use."""
    return UserError(
        "no_cuda",
        "No NVIDIA GPU is available to this installation of PyTorch.",
        "Choose the device cpu, or install a driver and a CUDA build of PyTorch.",
    )


def no_gsplat_error() -> UserError:
    """Return the error of a machine without gsplat or the compiler for its kernels."""
    return UserError(
        "no_gsplat",
        "The GPU rasteriser gsplat is not installed, or cannot be compiled.",
        "Install gsplat and the CUDA toolkit, or choose the device cpu.",
    )


def has_gsplat() -> bool:
    """Whether gsplat is installed with its kernels, or with the CUDA compiler that builds them at the first use.

    It imports and builds nothing, since it runs before the first message of every job.
    """
    package = importlib.util.find_spec("gsplat")
    if package is None or package.origin is None:
        return False
    has_kernels = any(Path(package.origin).parent.glob("csrc*.*"))
    return has_kernels or has_cuda_toolkit()


def device_name(device: torch.device) -> str:
    """Return the device's product name, e.g. "NVIDIA H100" or "AMD EPYC 7B13 (2 cores)"."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()} ({core_count()} cores)"


def core_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
