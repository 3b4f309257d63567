"""The files of the acoustic model: they are the official wheel's, they reach Blender, and a damaged one is refused."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest

from backend.contract.errors import UserError
from backend.speech import acoustic_model
from tools import extract_acoustic_model as extraction
from tools import package

# SHA-256 of the files in the wheel of pocketsphinx 5.1.1 on PyPI.
WHEEL_DIGESTS = {
    "means": "832019e32cac12eb318964f96f469034acb12d0348eeddc3831831a100cb4dd4",
    "variances": "b00d696f85e96834fc10f8e5f06428d8c4db6bffdbe5845b6f69bf6efbc48fa5",
    "mdef": "2360f9a86889c1cfee8bd618a0269387911e5fb2920a594f506b18b8c79683b0",
    "sendump": "8c9564c0d5bef69ca9d9bf1014abe162f071644cf02cf1fa8a483c3dc165a7a8",
    "LICENSE-model.txt": "8b88de980568509c646d0527b8414beef136964391903b40996d32f737bf752e",
    "LICENSE-pocketsphinx.txt": "1c3b5c5529d7360c927aa034eea28010c59558c1f67fb722d8d8b5d69cb98a23",
}


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder, except the README that was written for this project."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "README.md"}


def pack_wheel(path: Path, **changed: bytes) -> Path:
    """A file with the wheel's layout that holds the shipped files, some of them `changed`."""
    with zipfile.ZipFile(path, "w") as wheel:
        for name, source in extraction.FILES.items():
            wheel.writestr(source, changed.get(name, (extraction.MODEL_FOLDER / name).read_bytes()))
    return path


def test_shipped_files_are_those_of_the_official_wheel() -> None:
    assert digests(extraction.MODEL_FOLDER) == WHEEL_DIGESTS


def test_readme_records_the_digest_of_every_file() -> None:
    assert extraction.read_digests() == WHEEL_DIGESTS


def test_backend_reads_the_shipped_files() -> None:
    assert acoustic_model.MODEL_FOLDER.resolve() == extraction.MODEL_FOLDER


def test_zip_holds_the_model_unchanged(tmp_path: Path) -> None:
    with zipfile.ZipFile(package.build_archive(tmp_path)) as archive:
        found = {name: archive.read(f"backend/speech/models/en-us/{name}") for name in WHEEL_DIGESTS}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in found.items()} == WHEEL_DIGESTS


def test_extraction_reproduces_the_files(tmp_path: Path) -> None:
    extraction.extract_model(pack_wheel(tmp_path / "a.whl"), tmp_path / "out", extraction.read_digests())
    assert digests(tmp_path / "out") == WHEEL_DIGESTS


def test_wheel_with_another_model_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    wheel = pack_wheel(tmp_path / "a.whl", mdef=b"BMDF")
    with pytest.raises(UserError, match="SHA-256 that the README records: mdef"):
        extraction.extract_model(wheel, tmp_path / "out", extraction.read_digests())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"This is a text."], ids=["missing", "not a zip"])
def test_file_that_is_no_wheel_is_refused(tmp_path: Path, content: bytes | None) -> None:
    wheel = tmp_path / "a.whl"
    if content is not None:
        wheel.write_bytes(content)
    with pytest.raises(UserError) as caught:
        extraction.extract_model(wheel, tmp_path / "out", extraction.read_digests())
    assert caught.value.code == "bad_wheel"


@pytest.mark.parametrize("name", ["means", "variances", "mdef", "sendump"])
@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_damaged_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str) -> None:
    folder = tmp_path / "en-us"
    shutil.copytree(extraction.MODEL_FOLDER, folder)
    if damage == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:2000])
    monkeypatch.setattr(acoustic_model, "MODEL_FOLDER", folder)
    with pytest.raises(UserError) as caught:
        acoustic_model.load_acoustic_model.__wrapped__()
    assert caught.value.code == "broken_backend" and caught.value.remedy == "Install Portrait Actor again."
