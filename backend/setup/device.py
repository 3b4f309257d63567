"""Which processor does the work: a CUDA GPU where one can be used, else the CPU."""

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


def configure_native_threads() -> None:
    """Tells native libraries how to use the cores. They read it when they are loaded, so this is called before.

    Torch shall use all cores but not spin on them while the rasteriser works (that made a training step four times
    slower on a busy machine; to go to sleep at once, though, costs a quarter of the time on an idle one, so they look
    around for some microseconds first); linear algebra of our sizes is fastest on one core (threads that wait for each
    other made a Cholesky factor twenty times slower); mediapipe shall not chatter. What the person has set is kept.
    """
    wishes = {
        "OMP_NUM_THREADS": str(core_count()),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "2000",
        "OPENBLAS_NUM_THREADS": "1",
        "GLOG_minloglevel": "2",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    for name, value in wishes.items():
        os.environ.setdefault(name, value)


def choose_device(requested: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda"; "auto" takes the GPU when both it and its rasteriser are there.

    Raises:
        UserError: no_cuda or no_gsplat, when "cuda" was asked for and cannot be had.
    """
    import torch

    if requested not in DEVICES:
        raise UserError("bad_device", f"There is no device called {requested}.", "Choose auto, cpu or cuda.")
    has_gpu = requested != "cpu" and torch.cuda.is_available()
    if requested == "cuda" and not has_gpu:
        raise UserError(
            "no_cuda",
            "No NVIDIA GPU is available to this installation of PyTorch.",
            "Choose the device cpu, or install a driver and a CUDA build of PyTorch.",
        )
    if requested == "cuda" and not has_gsplat():
        raise UserError(
            "no_gsplat",
            "The GPU rasteriser gsplat is not installed, or cannot be compiled.",
            "Install gsplat and the CUDA toolkit, or choose the device cpu.",
        )
    return torch.device("cuda" if has_gpu and has_gsplat() else "cpu")


def has_gsplat() -> bool:
    """Whether gsplat is installed with its kernels, or with the CUDA compiler that builds them at the first use.

    Nothing is imported or built to find out: this runs before the first message of every job.
    """
    package = importlib.util.find_spec("gsplat")
    if package is None or package.origin is None:
        return False
    built = any(Path(package.origin).parent.glob("csrc*.*"))
    return built or has_cuda_toolkit()


def device_name(device: torch.device) -> str:
    """What a person calls it, e.g. "NVIDIA H100" or "AMD EPYC 7B13 (2 cores)"."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()} ({core_count()} cores)"


def core_count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
