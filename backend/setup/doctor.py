"""Reports what is installed, which device works, what is missing and how to get it. Works in an incomplete backend."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import sys
import tempfile
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..contract.protocol import PROTOCOL_VERSION
from .device import choose_device, core_count, device_name

PYPROJECT_PATH = Path(__file__).resolve().parents[2] / "pyproject.toml"
SETUP_REMEDY = "Set up the backend again (Preferences ▸ Portrait Actor, or backend/setup/install.py)."
MIN_FREE_BYTES = 2 << 30  # for one actor with its crops and rendered frames; an estimate
TRACKER_MODELS = (  # in mediapipe's folder `modules`
    "face_landmark/face_landmark_with_attention.tflite",
    "face_detection/face_detection_full_range_sparse.tflite",
    "selfie_segmentation/selfie_segmentation.tflite",
)
SPEECH_MODEL_FOLDER = Path(__file__).resolve().parents[1] / "speech" / "models" / "en-us"
SPEECH_FILES = ("means", "variances", "mdef", "sendump")
REINSTALL_REMEDY = "Install Portrait Actor again."
CODECS = (("h264", "r"), ("hevc", "r"), ("libx264", "w"), ("aac", "w"))  # PyAV's name; decoder or encoder


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: the checked part, e.g. "torch".
        state: what was found, e.g. "2.13.0+cpu".
        ok: whether the backend can work with it.
        remedy: what to do if not.
        needed: False for parts that only add speed.
    """

    what: str
    state: str
    ok: bool
    remedy: str = ""
    needed: bool = True


def diagnose() -> dict[str, Any]:
    """Run all checks.

    Returns:
        {"version", "protocol", "python", "platform", "device", "device_name", "cores", "ok", "findings": [{"what",
        "state", "ok", "remedy", "needed"}]}; "ok" is False if something needed is missing.
    """
    findings = [
        _check_python(),
        *_check_packages(),
        *_check_models(),
        *_check_codecs(),
        *_check_gpu(),
        _check_disk_space(Path(tempfile.gettempdir())),
    ]
    device, name = _detect_device()
    return {
        "version": __version__, "protocol": PROTOCOL_VERSION, "python": platform.python_version(),
        "platform": platform.platform(), "device": device, "device_name": name, "cores": core_count(),
        "ok": all(finding.ok for finding in findings if finding.needed),
        "findings": [asdict(finding) for finding in findings],
    }  # fmt: skip


def format_report(report: dict[str, Any]) -> str:
    """Format the report for a terminal."""
    lines = [
        f"Portrait Actor backend {report['version']}, protocol {report['protocol']}",
        f"Python {report['python']} on {report['platform']}",
        f"Jobs run on: {report['device_name'] or 'nothing yet'}",
        "",
    ]
    width = max(len(finding["what"]) for finding in report["findings"])
    for finding in report["findings"]:
        mark = "ok     " if finding["ok"] else "MISSING" if finding["needed"] else "none   "
        remedy = f"  → {finding['remedy']}" if finding["remedy"] and not finding["ok"] else ""
        lines.append(f"  {mark}  {finding['what']:{width}}  {finding['state']}{remedy}")
    lines += ["", "Everything needed is there." if report["ok"] else "Something needed is missing: see above."]
    return "\n".join(lines)


def _check_python() -> Finding:
    wanted = _read_pyproject().get("requires-python", "")
    limits = {sign: (int(major), int(minor)) for sign, major, minor in re.findall(r"(>=|<)\s*(\d+)\.(\d+)", wanted)}
    ok = limits.get(">=", (0, 0)) <= sys.version_info[:2] < limits.get("<", (99, 0))
    return Finding("Python", f"{platform.python_version()} (wanted: {wanted or 'any'})", ok, SETUP_REMEDY)


def _check_packages() -> list[Finding]:
    """Compare every pinned package with the installed version."""
    findings = []
    for pin in _read_pyproject().get("dependencies", []):
        name, _, wanted = pin.partition("==")
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(name, f"not installed (wanted: {wanted})", False, SETUP_REMEDY))
            continue
        is_wanted = found.split("+")[0] == wanted  # a suffix such as "+cpu" names a build, not a version
        findings.append(Finding(name, found if is_wanted else f"{found} (wanted: {wanted})", is_wanted, SETUP_REMEDY))
    return findings


def _check_models() -> list[Finding]:
    """Check the tracker's networks, which are inside the mediapipe package, and the phone recognizer's files."""
    package = importlib.util.find_spec("mediapipe")
    folder = Path(package.origin).parent / "modules" if package and package.origin else None
    missing = [name for name in TRACKER_MODELS if folder is None or not (folder / name).is_file()]
    state = f"{len(TRACKER_MODELS) - len(missing)} of {len(TRACKER_MODELS)} networks in mediapipe"
    missing_speech = [name for name in SPEECH_FILES if not (SPEECH_MODEL_FOLDER / name).is_file()]
    complete = f"{len(SPEECH_FILES)} of {len(SPEECH_FILES)} files"
    speech_state = f"missing: {', '.join(missing_speech)}" if missing_speech else complete
    return [
        Finding("face tracker", state, not missing, SETUP_REMEDY),
        Finding("phone recogniser", speech_state, not missing_speech, REINSTALL_REMEDY),
    ]


def _check_codecs() -> list[Finding]:
    """Check the codecs that reading and writing videos needs."""
    if importlib.util.find_spec("av") is None:
        return [Finding("codecs", "PyAV is not installed", False, SETUP_REMEDY)]
    import av.codec

    def has_codec(name: str, mode: Any) -> bool:
        try:
            av.codec.Codec(name, mode)
        except (ValueError, av.codec.codec.UnknownCodecError):
            return False
        return True

    missing = [name for name, mode in CODECS if not has_codec(name, mode)]
    state = f"missing: {', '.join(missing)}" if missing else ", ".join(name for name, _ in CODECS)
    return [Finding("codecs", state, not missing, SETUP_REMEDY)]


def _check_gpu() -> list[Finding]:
    """Check torch, the GPU and its rasterizer."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library of torch cannot be loaded
        return [Finding("torch", f"cannot be loaded ({error})", False, SETUP_REMEDY)]
    if not torch.cuda.is_available():
        state = "no CUDA GPU that torch can use; the CPU does the work"
        return [Finding("GPU", state, False, "With an NVIDIA GPU: its driver, and the CUDA build of torch.", False)]
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    gpu = Finding("GPU", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB, CUDA {torch.version.cuda}", True)
    try:
        found = importlib.metadata.version("gsplat")
    except importlib.metadata.PackageNotFoundError:
        return [gpu, Finding("gsplat", "not installed", False, "pip install gsplat, for work on the GPU.", False)]
    is_ready = choose_device("auto").type == "cuda"
    remedy = "Install the CUDA toolkit (nvcc), which builds its kernels."
    return [
        gpu,
        Finding("gsplat", found if is_ready else f"{found}, but its kernels cannot be built", is_ready, remedy, False),
    ]


def _check_disk_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding("disk", f"{free / 1e9:.0f} GB free at {folder}", free >= MIN_FREE_BYTES, "Free at least 2 GB.")


def _detect_device() -> tuple[str, str]:
    try:
        device = choose_device("auto")
    except (ImportError, OSError):  # reported by `_check_gpu`
        return "", ""
    return device.type, device_name(device)


def _read_pyproject() -> dict[str, Any]:
    """Return the [project] table of pyproject.toml, or {} if the file is not beside the backend."""
    try:
        return dict(tomllib.loads(PYPROJECT_PATH.read_text(encoding="utf-8"))["project"])
    except FileNotFoundError:
        return {}
