"""The processes of the real program: started, kept alive, reloaded, drained."""

import os
import pwd
import re
import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.acceptance.peers.process import free_port

from .conftest import Relay, wait_until


def test_it_serves_until_it_is_told_to_stop(relay: Relay) -> None:
    """SIGTERM ends it with exit code 0 and nothing left running."""
    relay.start()
    assert relay.greeting().startswith(b"220 relay.office.example")
    children = relay.children()
    assert relay.stop() == 0
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in relay.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_workers_are_not_root(relay: Relay) -> None:
    """Started as root, everything that speaks with the world is somebody else."""
    text = relay.configuration.read_text().replace('user = "root"', 'user = "nobody"')
    with TemporaryDirectory() as reachable:
        relay.directory = Path(reachable)
        relay.directory.chmod(0o755)
        relay.configuration.write_text(text)
        relay.start()
        _nobody_else_works(relay)
        relay.stop()


def _nobody_else_works(relay: Relay) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    for pid in relay.children():
        status = Path(f"/proc/{pid}/status").read_text()
        uids = re.search(r"^Uid:\s+(.*)$", status, re.MULTILINE)
        assert uids is not None
        assert set(map(int, uids[1].split())) == {nobody}
    assert relay.greeting().startswith(b"220 ")


def test_a_killed_worker_is_started_again(relay: Relay) -> None:
    """One crash is a line in the log and a count in the metrics, and mail goes on."""
    relay.start()
    victim = relay.children()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in relay.children() and relay.ask("/readyz")[0] == 200)
    assert relay.greeting().startswith(b"220 ")
    assert relay.log().count("process_died") == 1
    assert "filterrelay_worker_restarts_total 1.0" in relay.ask("/metrics")[1]


def test_a_killed_control_process_is_started_again(relay: Relay) -> None:
    """Metrics and health come back."""
    relay.start()
    victim = relay.children()[-1]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in relay.children() and relay.ask("/readyz")[0] == 200)


def test_nothing_outlives_a_killed_supervisor(relay: Relay) -> None:
    """Workers see that their parent is gone, finish, and end; a new start takes over."""
    relay.start()
    children = relay.children()
    relay.signal(signal.SIGKILL)
    wait_until(relay.exited)
    wait_until(lambda: not any(_alive(pid) for pid in children))
    relay.start()
    assert relay.greeting().startswith(b"220 ")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_reload_changes_the_configuration_and_drops_no_session(relay: Relay) -> None:
    """SIGHUP starts a new generation; a session of the old one goes on."""
    relay.start()
    with socket.create_connection(("127.0.0.1", relay.smtp), timeout=10) as client:
        client.recv(1000)
        text = relay.configuration.read_text().replace("relay.office", "new.office")
        relay.configuration.write_text(text)
        relay.signal(signal.SIGHUP)
        wait_until(lambda: "reloaded" in relay.log())
        assert relay.greeting().startswith(b"220 new.office.example")
        assert client.recv(1000).startswith(b"421 4.3.2")
    wait_until(lambda: "drained" in relay.log())
    assert relay.stop() == 0


def test_reload_opens_new_listeners(relay: Relay) -> None:
    """An address that was added is listened on."""
    relay.start()
    port = free_port()
    text = relay.configuration.read_text()
    relay.configuration.write_text(text.replace(str(relay.smtp), str(port)))
    relay.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in relay.log())
    relay.smtp = port
    assert relay.greeting().startswith(b"220 ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("workers", "wrokers"),
        ('state_dir = "state"', 'state_dir = "elsewhere"'),
        ("[delivery]", '[[filter]]\nuse = "no-such-plugin"\n[delivery]'),
    ],
)
def test_a_bad_configuration_changes_nothing(relay: Relay, old: str, new: str) -> None:
    """A mistake is logged; the relay goes on as it was."""
    relay.start()
    before = relay.children()
    relay.configuration.write_text(relay.configuration.read_text().replace(old, new))
    relay.signal(signal.SIGHUP)
    wait_until(lambda: "reload_refused" in relay.log())
    assert relay.children() == before
    assert relay.greeting().startswith(b"220 relay.office.example")


def test_an_address_in_use_ends_the_start_with_a_sentence(relay: Relay) -> None:
    """Exit code 1, the address named, no traceback."""
    with socket.create_server(("127.0.0.1", relay.smtp)), pytest.raises(AssertionError):
        relay.start()
    assert f"can't listen on 127.0.0.1:{relay.smtp}" in relay.log()
    assert "Traceback" not in relay.log()
    assert relay.process is not None
    assert relay.process.returncode == 1


def test_processes_that_keep_dying_do_not_keep_it_from_stopping(relay: Relay) -> None:
    """SIGTERM is heard however often something crashes."""
    relay.start()
    for _ in range(3):
        for pid in relay.children():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(relay.children()) == 2)
    assert relay.stop() == 0
