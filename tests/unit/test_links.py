"""Links: files outside an actor folder are neither read nor written, a linked environment is not deleted."""

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
from backend.setup.environment import environment_python, swap_environment


@pytest.fixture
def actor_path(tmp_path: Path) -> Path:
    """An actor folder; beside it are a file `secret` and a folder `frames`."""
    reader = READERS["frame"]
    folder = tmp_path / "jane.actor"
    outside.write_valid_file(reader, folder)
    (folder / "proxy.npz").write_bytes(outside.npz_bytes(outside.proxy_arrays()))
    (tmp_path / "secret").write_text("secret")
    shutil.copytree(folder / "frames", tmp_path / "frames")
    return folder


@pytest.mark.parametrize("name", ["plate.png", "model.safetensors", "mattes", "anything"])
@pytest.mark.parametrize("target", ["../secret", "../frames", "/dev/zero", "../nothing"])
def test_link_out_of_an_actor_folder_is_refused(actor_path: Path, name: str, target: str) -> None:
    (actor_path / name).symlink_to(target)
    with pytest.raises(UserError) as caught:
        ActorFolder.open(actor_path)
    assert caught.value.code == "foreign_link" and name in caught.value.message


def test_linked_folder_and_links_within_it_are_accepted(actor_path: Path, tmp_path: Path) -> None:
    (actor_path / "again.npz").symlink_to("proxy.npz")
    (tmp_path / "other.actor").symlink_to(actor_path)
    folder = ActorFolder.open(tmp_path / "other.actor")
    assert len(folder.load_proxy().vertices) == outside.FRAME_COUNT
    assert set(PROXY_LAYOUT) <= set(read_arrays(folder.file_path("again.npz")))


def test_frame_that_is_a_link_is_refused(actor_path: Path) -> None:
    (actor_path / "frames" / "000000.jpg").unlink()
    (actor_path / "frames" / "000000.jpg").symlink_to("../../frames/000000.jpg")
    found = outside.read_or_error(READERS["frame"], actor_path / "frames" / "000000.jpg")
    assert isinstance(found, UserError) and found.code == "foreign_link"


def test_write_does_not_follow_a_link(tmp_path: Path, actor_path: Path) -> None:
    from backend.cli.failures import error_from_exception

    (tmp_path / "new.json.part").symlink_to("secret")
    write_bytes_atomically(tmp_path / "new.json", b"new")
    (actor_path / "portrait_actor_error.log").symlink_to("../secret")
    assert error_from_exception(RuntimeError("bug"), actor_path).log != str(actor_path / "portrait_actor_error.log")
    assert (tmp_path / "secret").read_text() == "secret" and read_bytes(tmp_path / "new.json") == b"new"
    assert not (tmp_path / "new.json").is_symlink()


def test_upgrade_through_a_link_keeps_the_linked_environment(tmp_path: Path) -> None:
    shared, link = tmp_path / "shared", tmp_path / "env"
    for folder in (shared, tmp_path / "env.new"):
        environment_python(folder).parent.mkdir(parents=True)
        environment_python(folder).write_text("")
        (folder / ".complete").write_text("{}")
    try:
        link.symlink_to(shared, target_is_directory=True)
    except OSError:
        pytest.skip("this system does not allow links")
    swap_environment(tmp_path / "env.new", link, tmp_path / "env.old")
    assert environment_python(shared).exists() and (shared / ".complete").exists()
    assert environment_python(link).exists() and not link.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["env", "shared"]
