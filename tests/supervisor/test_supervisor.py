"""The processes of the real program: started, kept alive, reloaded, drained."""

import os
import pwd
import re
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from .conftest import Relay, begin, greeted, wait_until


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


NO_FORKS = """
import errno, os, pathlib
fork = os.fork
def none_to_spare():
    if pathlib.Path("no-forks").exists():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()
os.fork = none_to_spare
"""


def test_a_worker_is_replaced_as_soon_as_there_are_processes_to_spare(relay: Relay) -> None:
    """A machine without a free process for a moment doesn't end the relay."""
    relay.start(NO_FORKS)
    assert relay.process is not None
    descriptors = Path(f"/proc/{relay.process.pid}/fd")
    before = len([*descriptors.iterdir()])
    (relay.directory / "no-forks").touch()
    for pid in relay.children():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: relay.log().count("cannot_fork") > 2)
    relay.signal(signal.SIGHUP)
    (relay.directory / "no-forks").unlink()
    wait_until(lambda: relay.ask("/readyz")[0] == 200)
    assert relay.greeting().startswith(b"220 ")
    assert relay.children()
    wait_until(lambda: "reloaded" in relay.log() or "reload_refused" in relay.log())
    wait_until(lambda: len([*descriptors.iterdir()]) <= before)


IMPATIENT = "from filterrelay.supervisor import lock; lock.ORPHANS_END, lock.WAIT = 4.0, 6.0"


def test_a_successor_doesnt_wait_for_a_patient_orphan(relay: Relay) -> None:
    """Without its supervisor a worker ends soon, however long a drain may take."""
    relay.change('drain = "2s"', 'drain = "10m"')
    relay.start(IMPATIENT)
    children = relay.children()
    with greeted(relay) as endless:
        begin(endless)
        relay.signal(signal.SIGKILL)
        wait_until(relay.exited)
        assert any(_alive(pid) for pid in children)
        relay.start(IMPATIENT)
        assert not any(_alive(pid) for pid in children)
    assert relay.greeting().startswith(b"220 ")


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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("workers", "wrokers"),
        ('state_dir = "state"', 'state_dir = "elsewhere"'),
        ('user = "', 'user = "x'),
        ("[delivery]", '[spool]\nurl = "sqlite:///other.sqlite"\n[delivery]'),
        ("[delivery]", '[[filter]]\nuse = "no-such-plugin"\n[delivery]'),
    ],
)
def test_a_bad_configuration_changes_nothing(relay: Relay, old: str, new: str) -> None:
    """A mistake is logged; the relay goes on as it was."""
    relay.start()
    before = relay.children()
    relay.change(old, new)
    relay.signal(signal.SIGHUP)
    wait_until(lambda: "reload_refused" in relay.log())
    assert "Traceback" not in relay.log()
    assert relay.children() == before
    assert relay.greeting().startswith(b"220 relay.office.example")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_without_a_user_to_become_is_refused(relay: Relay) -> None:
    """Exit code 1, and what to do about it."""
    relay.change('user = "root"', 'user = "no-such-user"')
    with pytest.raises(AssertionError):
        relay.start()
    assert relay.process is not None
    assert relay.process.returncode == 1
    assert "adduser --system" in relay.log()
    assert "Traceback" not in relay.log()


def test_sessions_that_never_end_are_cut_within_the_grace(relay: Relay) -> None:
    """The drain time is for sessions and deliveries together, and nobody has to be killed."""
    relay.start()
    with greeted(relay) as endless:
        begin(endless)
        began = time.monotonic()
        assert relay.stop() == 0
        assert time.monotonic() - began < 2 + 1.5
        assert "killed_overdue" not in relay.log()


HOLDING = """
import asyncio
from filterrelay.observe import process
from filterrelay.supervisor import children
process.HELD_EVERY = 0.05
async def drain(core, doors, grace):
    core.budget.reservation().try_grow(5)
    await asyncio.sleep(0.5)
    print("held while it drained:", core.metrics.memory._value.get(), flush=True)
children.drain = drain
"""


def test_a_worker_that_drains_still_tells_what_it_holds(relay: Relay) -> None:
    """After a reload its last messages count beside its successor's, and may take a while."""
    relay.start(HOLDING)
    assert relay.stop() == 0
    assert "held while it drained: 5" in relay.log()


def test_an_address_in_use_ends_the_start_with_a_sentence(relay: Relay) -> None:
    """Exit code 1, the address named, no traceback."""
    with socket.create_server(("127.0.0.1", relay.smtp)), pytest.raises(AssertionError):
        relay.start()
    assert f"can't listen on 127.0.0.1:{relay.smtp}" in relay.log()
    assert "Traceback" not in relay.log()
    assert relay.process is not None
    assert relay.process.returncode == 1


QUICK_VIGIL = """
from filterrelay.supervisor import board, children, vigil
children.LOOK_EVERY, board.SILENT_AFTER, vigil.ENDED_AFTER = 0.1, 1.0, 1.0
"""


def test_a_worker_that_hangs_is_ended_and_another_one_serves(relay: Relay) -> None:
    """It would hold its clients for ever, and the only worker serve nobody."""
    relay.start(QUICK_VIGIL)
    hanging = relay.children()[0]
    os.kill(hanging, signal.SIGSTOP)
    wait_until(lambda: "process_died" in relay.log())
    assert "worker_silent" in relay.log()
    wait_until(lambda: len(relay.children()) == 2)
    assert hanging not in relay.children()
    assert relay.greeting().startswith(b"220 ")


def test_processes_that_keep_dying_do_not_keep_it_from_stopping(relay: Relay) -> None:
    """SIGTERM is heard however often something crashes."""
    relay.start()
    for _ in range(3):
        for pid in relay.children():
            with suppress(ProcessLookupError):  # one that frees mail is gone soon by itself
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(relay.children()) == 2)
    assert relay.stop() == 0
