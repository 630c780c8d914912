"""What systemd hears, at a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterrelay.supervisor.notify import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where systemd listens, as NOTIFY_SOCKET says it."""
    return str(tmp_path / "notify") if request.param == "path" else f"@fr-test-{os.getpid()}"


@pytest.fixture
def systemd(address: str) -> Iterator[socket.socket]:
    """Its ear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(address.replace("@", "\0"))
        ear.settimeout(0)
        yield ear


def heard(ear: socket.socket) -> list[list[str]]:
    """Each message so far, by lines."""
    found = []
    while True:
        try:
            found.append(ear.recv(4096).decode().splitlines())
        except BlockingIOError:
            return found


def test_each_state_has_its_words(systemd: socket.socket, address: str) -> None:
    """As sd_notify(3) has them; a reload says when it began."""
    manager = ServiceManager({"NOTIFY_SOCKET": address})
    manager.ready("serving with 2 workers; reload refused: bad\nREADY=0")
    manager.reloading()
    manager.stopping()
    ready, reloading, stopping = heard(systemd)
    assert ready == ["READY=1", "STATUS=serving with 2 workers; reload refused: bad READY=0"]
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=")
    assert stopping == ["STOPPING=1", "STATUS=draining"]


def test_the_sign_of_life_comes_at_half_the_time(systemd: socket.socket, address: str) -> None:
    """However often it could be given."""
    times = iter((100.0, 101.0, 104.9, 105.0, 109.9, 110.0))
    variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000"}
    manager = ServiceManager(variables, lambda: next(times))
    for _ in range(6):
        manager.alive()
    assert heard(systemd) == [["WATCHDOG=1"]] * 3


@pytest.mark.parametrize("variables", [{}, {"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "1"}])
def test_no_sign_is_given_that_nobody_waits_for(
    systemd: socket.socket, address: str, variables: dict[str, str]
) -> None:
    """The watchdog is off, or another process's."""
    ServiceManager({"NOTIFY_SOCKET": address, **variables}).alive()
    assert heard(systemd) == []


def test_patience_is_asked_for_before_it_ends(systemd: socket.socket, address: str) -> None:
    """Three times in the time that it gives, and at once for another reason."""
    times = iter((100.0, 101.0, 106.0, 111.0))
    manager = ServiceManager({"NOTIFY_SOCKET": address}, lambda: next(times))
    for status in ("starting", "draining", "draining", "draining"):
        manager.patience(status)
    assert heard(systemd) == [
        ["EXTEND_TIMEOUT_USEC=30000000", f"STATUS={status}"]
        for status in ("starting", "draining", "draining")
    ]


def test_what_a_plugin_starts_doesnt_inherit_it(address: str) -> None:
    """A program that finds NOTIFY_SOCKET may speak in our name."""
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "A": "b"}
    ServiceManager(environment)
    assert environment == {"A": "b"}


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_nobody_has_to_listen(variables: dict[str, str]) -> None:
    """Started by hand, or by somebody who is gone."""
    ServiceManager(variables).ready("serving")
