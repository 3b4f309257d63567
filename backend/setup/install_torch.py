"""The build of PyTorch for an environment, CUDA or CPU, and where pip finds it. Standard library only."""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

DEVICES = ("auto", "cpu", "cuda")
PYTORCH_INDEX_URL = "https://download.pytorch.org/whl"  # PyTorch's own index, with the builds that pypi.org lacks
CUDA_TAG = "cu130"
# Sizes of the environment by whether it is for CUDA: measured for the CPU, estimated for CUDA. Installing needs more
# space than remains used, since pip unpacks before it moves.
DOWNLOAD_BYTES = {False: 0.7e9, True: 4e9}
INSTALLED_BYTES = {False: 2.5e9, True: 8e9}
MIN_FREE_BYTES = {False: 4e9, True: 12e9}
KERNEL_BUILD_NOTE = (
    "gsplat builds its GPU kernels at the first job on the GPU, which takes minutes and needs the CUDA toolkit (nvcc); "
    "without it, jobs run on the CPU."
)


def wants_cuda(device: str) -> bool:
    """Whether `device`, one of `DEVICES`, needs the CUDA build on this machine."""
    return device == "cuda" or (device == "auto" and has_nvidia_driver())


def has_nvidia_driver() -> bool:
    """Whether an NVIDIA driver is installed, so that the CUDA build is useful."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def has_cuda_toolkit() -> bool:
    """Whether the CUDA toolkit, which builds gsplat's kernels, is installed."""
    return bool(os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or shutil.which("nvcc"))


def pip_index_options(is_cuda: bool, pip_config: str) -> list[str]:
    """Return pip's options for the index of torch, given the output of `pip config list`."""
    url = "" if has_custom_index(pip_config) else torch_index_url(is_cuda)
    return ["--index-url", url] if url else []


def torch_index_url(is_cuda: bool) -> str:
    """Return the index of this build of torch, or "" if pypi.org has it.

    pypi.org has the CUDA build for Linux on x86-64 and the CPU build for everything else.
    """
    system = platform.system()
    if system == "Linux" and platform.machine() == "x86_64" and not is_cuda:
        return f"{PYTORCH_INDEX_URL}/cpu"
    return f"{PYTORCH_INDEX_URL}/{CUDA_TAG}" if system == "Windows" and is_cuda else ""


def has_custom_index(pip_config: str) -> bool:
    """Whether pip is configured with another index, such as a studio's, which then has torch, too."""
    return re.search(r"(index-url|find-links|no-index)='?[^'\s]", pip_config) is not None
