"""Fuzzes a reader of outside data with atheris, for as long as one likes: python -m tests.fuzz READER

atheris is not a dependency of the project: install it into an environment of your own that has the backend's packages.
Arguments after the reader's name go to libFuzzer, e.g. -max_total_time=120. The corpus starts with the reader's valid
file and is kept in a temporary folder. A run stops at the first exception other than `UserError`, at an input that
takes ten seconds, and at two gigabytes of memory.
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

# The modules that read. The whole backend cannot be instrumented: numba does not compile code with traces in it.
INSTRUMENTED_MODULES = [
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
LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536"]  # seconds, megabytes, bytes of an input
WHOLE_FILE_PROBABILITY = 0.3  # of changing a zip's bytes and not those of a member
MAX_MEMBER_GROWTH = 64  # bytes

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
with atheris.instrument_imports(include=INSTRUMENTED_MODULES):
    from outside_data import READERS, read_or_error, write_valid_file


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change the bytes, or the content of one member of a zip: else checksums would hide the code behind them."""
    rng = random.Random(seed)
    if data[:2] != b"PK" or rng.random() < WHOLE_FILE_PROBABILITY:
        return bytes(atheris.Mutate(data, max_size))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except (ValueError, OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return bytes(atheris.Mutate(data, max_size))
    if not members:
        return bytes(atheris.Mutate(data, max_size))
    chosen = rng.choice(list(members))
    members[chosen] = bytes(atheris.Mutate(members[chosen], len(members[chosen]) + MAX_MEMBER_GROWTH))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()[:max_size]


def main() -> None:
    """Fuzz the reader that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        raise SystemExit(f"Usage: python -m tests.fuzz READER [-max_total_time=SECONDS …]; one of {', '.join(READERS)}")
    reader, folder = READERS[sys.argv[1]], Path(tempfile.mkdtemp(prefix=f"fuzz_{sys.argv[1]}_"))
    path = write_valid_file(reader, folder / "spare.actor")
    (folder / "corpus").mkdir()
    (folder / "corpus" / "seed").write_bytes(reader.make_valid_bytes())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_or_error(reader, path)

    arguments = [*LIMITS, f"-artifact_prefix={folder}/", *sys.argv[2:], str(folder / "corpus")]
    atheris.Setup([sys.argv[0], *arguments], read, custom_mutator=mutate)
    atheris.Fuzz()


main()
