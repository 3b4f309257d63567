"""No port is opened and no address looked up while actors are created, speak and are previewed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from child import REPO, TIMEOUT_SECONDS

from backend.contract import protocol
from backend.contract.actor_folder import ActorFolder
from backend.contract.protocol import Request

LISTENING = "0A"  # the state in /proc/net/tcp
AUDITED_COMMAND = """
import os, sys
NETWORK_EVENTS = ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
def audit(event, arguments):
    if event in NETWORK_EVENTS:
        os.write(2, f"{event} {arguments}".encode())
        os._exit(99)
sys.addaudithook(audit)
if sys.argv[1:] == ["bind"]:
    import socket
    socket.socket().bind(("127.0.0.1", 0))
from backend.cli.commands import main
code = main(sys.argv[1:])
sockets = [f.path for f in os.scandir("/proc/self/fd") if os.path.islink(f.path) and "socket:" in os.readlink(f.path)]
os._exit(98 if sockets else code)
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads open files from /proc")


def run_audited(*arguments: str, final_input: str = "") -> tuple[int, str, str]:
    """Return exit code, standard output and error of an audited command.

    The code is 99 after a network event and 98 with an open socket at the end. `final_input` is sent once it is ready.
    """
    command = [sys.executable, "-c", AUDITED_COMMAND, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPO, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        received = ""
        while final_input and '"done": 1' not in received and child.poll() is None:
            assert child.stdout is not None
            received += child.stdout.readline()
        output, errors = child.communicate(final_input, timeout=TIMEOUT_SECONDS)
    return child.returncode, received + output, errors


@needs_proc
def test_audit_hook_detects_a_socket() -> None:
    assert run_audited("bind")[0] == 99


@needs_proc
def test_speaking_opens_no_socket(sample_actor: ActorFolder, tmp_path: Path) -> None:
    code, _, errors = run_audited(
        "speak", str(sample_actor.path), str(sample_actor.file_path("audio.wav")), str(tmp_path / "line.npz")
    )
    assert code == 0, errors


@needs_proc
def test_preview_service_opens_no_socket(sample_actor: ActorFolder) -> None:
    code, output, errors = run_audited(
        "serve", str(sample_actor.path), final_input=protocol.encode_message(Request("1", "quit")) + "\n"
    )
    assert code == 0 and '"result"' in output, errors


@needs_proc
def test_creation_leaves_no_listening_port(sample_actor: ActorFolder) -> None:
    open_files = {str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            state, inode = line.split()[3], line.split()[9]
            assert state != LISTENING or f"socket:[{inode}]" not in open_files
