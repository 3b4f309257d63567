"""Links: what leads out of an actor's folder is neither read nor written, a linked environment is not deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

import outside_data as outside
import pytest
from outside_data import READERS

from backend.contract.actor_folder import PROXY_LAYOUT, ActorFolder
from backend.contract.atomic_write import write_bytes_atomically
from backend.contract.errors import UserError
from backend.contract.safe_io import read_arrays, read_bytes
from backend.setup import install


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """An actor's folder, and beside it a secret and a folder."""
    reader = READERS["frame"]
    folder = tmp_path / "jane.actor"
    outside.write_valid_file(reader, folder)
    (folder / "proxy.npz").write_bytes(outside.npz_bytes(outside.proxy_arrays()))
    (tmp_path / "secret").write_text("secret")
    shutil.copytree(folder / "frames", tmp_path / "frames")
    return folder


@pytest.mark.parametrize("name", ["plate.png", "model.safetensors", "mattes", "anything"])
@pytest.mark.parametrize("target", ["../secret", "../frames", "/dev/zero", "../nothing"])
def test_a_link_that_leads_out_of_an_actor_is_refused(linked: Path, name: str, target: str) -> None:
    (linked / name).symlink_to(target)
    with pytest.raises(UserError) as caught:
        ActorFolder.open(linked)
    assert caught.value.code == "foreign_link" and name in caught.value.message


def test_an_actor_that_is_linked_as_a_whole_and_links_within_are_fine(linked: Path, tmp_path: Path) -> None:
    (linked / "again.npz").symlink_to("proxy.npz")
    (tmp_path / "other.actor").symlink_to(linked)
    folder = ActorFolder.open(tmp_path / "other.actor")
    assert len(folder.load_proxy().vertices) == outside.FRAME_COUNT and set(PROXY_LAYOUT) <= set(
        read_arrays(folder.file_path("again.npz"))
    )


def test_a_frame_that_is_a_link_is_refused(linked: Path) -> None:
    (linked / "frames" / "000000.jpg").unlink()
    (linked / "frames" / "000000.jpg").symlink_to("../../frames/000000.jpg")
    found = outside.read_or_error(READERS["frame"], linked / "frames" / "000000.jpg")
    assert isinstance(found, UserError) and found.code == "foreign_link"


def test_nothing_is_written_through_a_link(tmp_path: Path, linked: Path) -> None:
    from backend.cli.console import error_from_exception

    (tmp_path / "new.json.part").symlink_to("secret")
    write_bytes_atomically(tmp_path / "new.json", b"new")
    (linked / "portrait_actor_error.log").symlink_to("../secret")
    assert error_from_exception(RuntimeError("bug"), linked).log != str(linked / "portrait_actor_error.log")
    assert (tmp_path / "secret").read_text() == "secret" and read_bytes(tmp_path / "new.json") == b"new"
    assert not (tmp_path / "new.json").is_symlink()


def test_upgrade_through_a_link_leaves_the_linked_environment_alone(tmp_path: Path) -> None:
    shared, link = tmp_path / "shared", tmp_path / "env"
    for folder in (shared, tmp_path / "env.new"):
        install.environment_python(folder).parent.mkdir(parents=True)
        install.environment_python(folder).write_text("")
        (folder / ".complete").write_text("{}")
    try:
        link.symlink_to(shared, target_is_directory=True)
    except OSError:
        pytest.skip("no links may be made here")
    install.swap_environment(tmp_path / "env.new", link, tmp_path / "env.old")
    assert install.environment_python(shared).exists() and (shared / ".complete").exists()
    assert install.environment_python(link).exists() and not link.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["env", "shared"]
