"""Which build of PyTorch an environment gets: the one for CUDA or the one for the CPU. Standard library only."""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

DEVICES = ("auto", "cpu", "cuda")
PYTORCH = "https://download.pytorch.org/whl"  # PyTorch's own index: the builds that pypi.org has not
CUDA = "cu130"
# Keyed by whether it is for CUDA, which is estimated; pip unpacks before it moves, so more must be free than stays.
DOWNLOAD_BYTES = {False: 0.7e9, True: 4e9}
DISK_BYTES = {False: 2.5e9, True: 8e9}
NEEDED_BYTES = {False: 4e9, True: 12e9}
KERNELS = (
    "gsplat builds its GPU kernels at the first job on the GPU, which takes minutes and wants the CUDA toolkit (nvcc); "
    "without it, jobs run on the CPU."
)


def wants_cuda(device: str) -> bool:
    """Whether `device`, one of DEVICES, means the CUDA build on this machine."""
    return device == "cuda" or (device == "auto" and has_nvidia())


def has_nvidia() -> bool:
    """Whether an NVIDIA driver is installed, so that the CUDA rasteriser is worth installing."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def has_compiler() -> bool:
    """Whether the CUDA toolkit is there, which builds gsplat's kernels."""
    return bool(os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or shutil.which("nvcc"))


def index_options(cuda: bool, settings: str) -> list[str]:
    """pip's options for the index that torch comes from, given what `pip config list` printed."""
    url = "" if chooses_packages(settings) else index(cuda)
    return ["--index-url", url] if url else []


def index(cuda: bool) -> str:
    """The index that has this build of torch; empty where pip's usual one has it: pypi.org has the CUDA build for Linux
    on x86-64 and the CPU build for everything else."""
    system = platform.system()
    if system == "Linux" and platform.machine() == "x86_64" and not cuda:
        return f"{PYTORCH}/cpu"
    return f"{PYTORCH}/{CUDA}" if system == "Windows" and cuda else ""


def chooses_packages(settings: str) -> bool:
    """Whether what `pip config list` printed says where packages come from: a studio's own index has its own torch."""
    return re.search(r"(index-url|find-links|no-index)='?[^'\s]", settings) is not None
