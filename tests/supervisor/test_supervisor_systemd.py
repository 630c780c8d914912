"""The real program under a service manager: what it says at each turn, and sockets it is given."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filterrelay.doors.admission import Admission
from filterrelay.settings import Settings
from filterrelay.supervisor.activation import PassedSockets
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.generation import Generation
from filterrelay.supervisor.notify import ServiceManager
from filterrelay.supervisor.supervisor import CLEAN_WITHIN, Supervisor

from .conftest import Relay, greeted, wait_until

ROOT = Path(__file__).parent.parent.parent


class Ear:
    """Hears what the relay says, each message by lines."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(0)
        self.heard: list[list[str]] = []

    def listen(self) -> list[list[str]]:
        """All that was said so far."""
        while True:
            try:
                self.heard.append(self.socket.recv(4096).decode().splitlines())
            except BlockingIOError:
                return self.heard

    def knows(self, *lines: str) -> Callable[[], bool]:
        """Whether a message with just these lines, or beginnings of lines, has come."""

        def come() -> bool:
            return any(
                len(each) == len(lines)
                and all(said.startswith(line) for said, line in zip(each, lines, strict=True))
                for each in self.listen()
            )

        return come


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    """It waits for a sign of life every second."""
    ear = Ear(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1500000")
    yield ear
    ear.socket.close()


def test_it_says_when_it_serves_reloads_and_stops(relay: Relay, systemd: Ear) -> None:
    """In this order: starting, serving, reloading, serving, a refused reload, draining."""
    relay.start()
    first = systemd.listen()[0]
    assert first[0].startswith("EXTEND_TIMEOUT_USEC=")
    assert first[1].startswith("STATUS=starting")
    assert systemd.knows("READY=1", "STATUS=serving with 1 worker")()
    systemd.heard.clear()
    relay.reload()
    wait_until(systemd.knows("RELOADING=1", "MONOTONIC_USEC="))
    wait_until(systemd.knows("READY=1", "STATUS=serving with 1 worker"))
    systemd.heard.clear()
    relay.change("workers", "wrokers")
    relay.signal(signal.SIGHUP)
    wait_until(systemd.knows("READY=1", "STATUS=serving with 1 worker; reload refused: "))
    assert systemd.heard[0][0] == "RELOADING=1"
    assert relay.stop() == 0
    assert systemd.knows("STOPPING=1", "STATUS=draining")()


def test_a_supervisor_that_hangs_gives_no_sign_of_life(relay: Relay, systemd: Ear) -> None:
    """So systemd starts it anew, though its workers and threads may still be there."""
    relay.start()
    systemd.heard.clear()
    wait_until(lambda: systemd.listen().count(["WATCHDOG=1"]) >= 2)
    relay.signal(signal.SIGSTOP)
    systemd.listen()
    systemd.heard.clear()
    time.sleep(1.5)
    assert systemd.listen() == []
    relay.signal(signal.SIGCONT)
    wait_until(systemd.knows("WATCHDOG=1"))


def test_no_sign_of_life_comes_while_no_worker_is_there(relay: Relay, systemd: Ear) -> None:
    """Workers that die again and again are a case for a new start."""
    relay.start(NEVER_READY)
    wait_until(systemd.knows("WATCHDOG=1"))
    (relay.directory / "ail").touch()
    os.kill(relay.children()[0], signal.SIGKILL)
    wait_until(lambda: relay.log().count("process_died") >= 2)
    systemd.listen()
    systemd.heard.clear()
    time.sleep(1.5)
    assert systemd.listen() == []


def test_freeing_the_mail_of_the_only_worker_is_no_reason_for_a_new_start() -> None:
    """The sign of life stays out no longer than systemd waits, with time to start a worker."""
    unit = (ROOT / "deploy/systemd/filterrelay.service").read_text()
    found = re.search(r"^WatchdogSec=(\d+)s$", unit, re.MULTILINE)
    assert found is not None
    assert int(found[1]) / 2 + CLEAN_WITHIN + 10 < int(found[1])


NEVER_READY = """
import os, pathlib
from filterrelay.supervisor import children
opened = children.open_doors
async def open_doors(*given):
    if pathlib.Path("ail").exists():
        os._exit(1)
    return await opened(*given)
children.open_doors = open_doors
"""


@pytest.mark.parametrize(
    ("standing", "signs"), [(Standing.READY, 1), (Standing.AILING, 1), (Standing.ABSENT, 0)]
)
def test_workers_that_cant_store_mail_are_no_case_for_a_new_start(
    systemd: Ear, standing: Standing, signs: int
) -> None:
    """It would free no disk, and end what can still be done."""
    settings = Settings.model_validate({"listener": [{"kind": "smtp", "address": "127.0.0.1:0"}]})
    supervisor = Supervisor(lambda: settings, ServiceManager(os.environ), PassedSockets({}))
    board = Board(1)
    board.mark(0, standing)
    supervisor._present = Generation(0, settings, 0.0, {}, Admission(1, 2), 0, board, None, None)
    supervisor._give_sign()
    assert systemd.listen() == [["WATCHDOG=1"]] * signs


def test_a_long_drain_asks_for_patience(relay: Relay, systemd: Ear) -> None:
    """systemd's TimeoutStopSec doesn't end what delivery.drain lets finish."""
    relay.start()
    systemd.heard.clear()
    with greeted(relay):
        assert relay.stop() == 0
    assert systemd.knows("EXTEND_TIMEOUT_USEC=30000000", "STATUS=draining")()


SOCKETS_FROM_OUTSIDE = """
import os, socket
socks = [socket.create_server(("127.0.0.1", port)) for port in ({smtp}, {metrics})]
socks.append(socket.create_server(("127.0.0.1", 0)))
for number, sock in enumerate(socks, 3):
    assert sock.fileno() == number
    sock.detach()
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="3", LISTEN_FDNAMES="a:b:c")
socket.socket.bind = None
"""


def test_sockets_of_the_service_manager_are_served(relay: Relay) -> None:
    """By address, over a reload as well; one that no listener has is closed, and it is said."""
    relay.start(SOCKETS_FROM_OUTSIDE.format(smtp=relay.smtp, metrics=relay.metrics))
    assert relay.greeting().startswith(b"220 ")
    relay.reload()
    assert relay.greeting().startswith(b"220 ")
    assert relay.log().count("passed_socket_not_used") == 1
    assert relay.stop() == 0
