"""Nothing talks to a network: no port is opened and no address looked up while actors are made, speak and are seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backend.contract import protocol
from backend.contract.actor_folder import ActorFolder
from backend.contract.protocol import Request

ROOT = Path(__file__).resolve().parents[2]
LISTENING = "0A"  # in /proc/net/tcp
WATCHED = """
import os, sys
TALK = ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
def watch(event, arguments):
    if event in TALK:
        os.write(2, f"{event} {arguments}".encode())
        os._exit(99)
sys.addaudithook(watch)
if sys.argv[1:] == ["talk"]:
    import socket
    socket.socket().bind(("127.0.0.1", 0))
from backend.cli.commands import main
code = main(sys.argv[1:])
sockets = [f.path for f in os.scandir("/proc/self/fd") if os.path.islink(f.path) and "socket:" in os.readlink(f.path)]
os._exit(98 if sockets else code)
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted by /proc")


def run(*arguments: str, then: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and error of a watched command; `then` is said once it is ready."""
    command = [sys.executable, "-c", WATCHED, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        heard = ""
        while then and '"done": 1' not in heard and child.poll() is None:
            assert child.stdout is not None
            heard += child.stdout.readline()
        output, errors = child.communicate(then, timeout=300)
    return child.returncode, heard + output, errors


@needs_proc
def test_a_talker_is_caught() -> None:
    assert run("talk")[0] == 99


@needs_proc
def test_nobody_talks_while_an_actor_speaks(sample_actor: ActorFolder, tmp_path: Path) -> None:
    code, _, errors = run(
        "speak", str(sample_actor.path), str(sample_actor.file_path("audio.wav")), str(tmp_path / "line.npz")
    )
    assert code == 0, errors


@needs_proc
def test_nobody_talks_while_an_actor_is_shown(sample_actor: ActorFolder) -> None:
    code, said, errors = run("serve", str(sample_actor.path), then=protocol.encode_message(Request("1", "quit")) + "\n")
    assert code == 0 and '"result"' in said, errors


@needs_proc
def test_nobody_listens_after_an_actor_was_created_in_this_process(sample_actor: ActorFolder) -> None:
    own = {str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            state, inode = line.split()[3], line.split()[9]
            assert state != LISTENING or f"socket:[{inode}]" not in own
