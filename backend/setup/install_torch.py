"""Which build of PyTorch an environment gets: the one for CUDA or the one for the CPU. Standard library only."""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

DEVICES = ("auto", "cpu", "cuda")
PYTORCH_INDEX_URL = "https://download.pytorch.org/whl"  # PyTorch's own index: the builds that pypi.org has not
CUDA_TAG = "cu130"
# Keyed by whether it is for CUDA, which is estimated; pip unpacks before it moves, so more must be free than stays.
DOWNLOAD_BYTES = {False: 0.7e9, True: 4e9}
INSTALLED_BYTES = {False: 2.5e9, True: 8e9}
MIN_FREE_BYTES = {False: 4e9, True: 12e9}
KERNEL_BUILD_NOTE = (
    "gsplat builds its GPU kernels at the first job on the GPU, which takes minutes and wants the CUDA toolkit (nvcc); "
    "without it, jobs run on the CPU."
)


def wants_cuda(device: str) -> bool:
    """Whether `device`, one of DEVICES, means the CUDA build on this machine."""
    return device == "cuda" or (device == "auto" and has_nvidia_driver())


def has_nvidia_driver() -> bool:
    """Whether an NVIDIA driver is installed, so that the CUDA rasteriser is worth installing."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def has_cuda_toolkit() -> bool:
    """Whether the CUDA toolkit is there, which builds gsplat's kernels."""
    return bool(os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or shutil.which("nvcc"))


def pip_index_options(is_cuda: bool, pip_config: str) -> list[str]:
    """pip's options for the index that torch comes from, given what `pip config list` printed."""
    url = "" if has_custom_index(pip_config) else torch_index_url(is_cuda)
    return ["--index-url", url] if url else []


def torch_index_url(is_cuda: bool) -> str:
    """The index that has this build of torch; empty where pip's usual one has it: pypi.org has the CUDA build for Linux
    on x86-64 and the CPU build for everything else."""
    system = platform.system()
    if system == "Linux" and platform.machine() == "x86_64" and not is_cuda:
        return f"{PYTORCH_INDEX_URL}/cpu"
    return f"{PYTORCH_INDEX_URL}/{CUDA_TAG}" if system == "Windows" and is_cuda else ""


def has_custom_index(pip_config: str) -> bool:
    """Whether what `pip config list` printed says where packages come from: a studio's own index has its own torch."""
    return re.search(r"(index-url|find-links|no-index)='?[^'\s]", pip_config) is not None
