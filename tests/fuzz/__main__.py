"""Fuzzes a reader of outside data with atheris, by hand and for as long as one likes: python -m tests.fuzz READER

atheris is no dependency of the project: install it into an environment of your own that has the backend's packages.
What follows the reader's name goes to libFuzzer, e.g. -max_total_time=120. The corpus begins with the reader's sound
file and is kept in a temporary folder. It stops at the first exception that is no `UserError`, at an input that takes
ten seconds, and at two gigabytes of memory.
"""

from __future__ import annotations

import io
import random
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import atheris

# What reads. The whole backend would be too much: numba compiles what it is given, and cannot with traces in it.
READING = [
    "backend.contract.protocol",
    "backend.contract.safe_io",
    "backend.contract.performance",
    "backend.contract.actor_folder",
    "backend.media.image_io",
    "backend.contract.camera",
    "backend.contract.live_link",
    "backend.cli.preview_service",
    "backend.synthetic.ground_truth",
    "backend.speech.external_features",
    "backend.portrait.storage",
    "backend.portrait.model",
    "backend.speech.model",
    "backend.rendering.frame_cache",
    "backend.tracking.landmarker",
    "zipfile",
    "csv",
    "numpy.lib.format",
]
LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536"]

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
with atheris.instrument_imports(include=READING):
    from outside_data import READERS, outcome, place


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """The bytes, or what one member of a zip holds, changed: else checksums would hide what lies behind them."""
    rng = random.Random(seed)
    if data[:2] != b"PK" or rng.random() < 0.3:
        return bytes(atheris.Mutate(data, most))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [[entry.filename, archive.read(entry)] for entry in archive.infolist()]
    except (ValueError, OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return bytes(atheris.Mutate(data, most))
    if not parts:
        return bytes(atheris.Mutate(data, most))
    part = rng.choice(parts)
    part[1] = bytes(atheris.Mutate(part[1], len(part[1]) + 64))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts:
            archive.writestr(name, content)
    return file.getvalue()[:most]


def main() -> None:
    """Fuzzes the reader that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        raise SystemExit(f"Usage: python -m tests.fuzz READER [-max_total_time=SECONDS …]; one of {', '.join(READERS)}")
    reader, work = READERS[sys.argv[1]], Path(tempfile.mkdtemp(prefix=f"fuzz_{sys.argv[1]}_"))
    path = place(reader, work / "spare.actor")
    (work / "corpus").mkdir()
    (work / "corpus" / "seed").write_bytes(reader.seed())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        outcome(reader, path)

    arguments = [*LIMITS, f"-artifact_prefix={work}/", *sys.argv[2:], str(work / "corpus")]
    atheris.Setup([sys.argv[0], *arguments], read, custom_mutator=mutated)
    atheris.Fuzz()


main()
