"""Sockets that were bound by somebody else."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterrelay.supervisor.activation import PassedSockets
from filterrelay.supervisor.sockets import CantListen

FIRST = 200  # descriptors from here on are free in a test's process


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[list[socket.socket]]:
    """Two listening sockets, a port and a path, at descriptors 200 and 201."""
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "door"))
    unix.listen()
    made = [socket.create_server(("127.0.0.1", 0)), unix]
    for number, sock in enumerate(made, FIRST):
        os.dup2(sock.fileno(), number)
    yield made
    for sock in made:
        sock.close()


def passed(names: str = "", count: str = "2") -> PassedSockets:
    """As systemd says it."""
    variables = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": names}
    return PassedSockets(variables, FIRST)


def address(sock: socket.socket) -> str:
    """As the configuration writes it."""
    where = sock.getsockname()
    return f"unix:{where}" if isinstance(where, str) else f"{where[0]}:{where[1]}"


def test_a_socket_is_known_by_its_address(bound: list[socket.socket]) -> None:
    """It is the same socket, not blocking, and isn't inherited by programs."""
    sockets = passed()
    for sock in reversed(bound):
        taken = sockets.take(address(sock), "submission")
        assert taken is not None
        with taken:
            assert taken.getsockname() == sock.getsockname()
            assert not taken.getblocking()
            assert not taken.get_inheritable()
    assert sockets.take(address(bound[0]), "submission") is None


def test_a_socket_is_known_by_its_name(bound: list[socket.socket]) -> None:
    """Where systemd's address isn't the file's, FileDescriptorName= is the listener's name."""
    sockets = passed("submission:milter")
    taken = sockets.take("0.0.0.0:587", "milter")
    assert taken is not None
    with taken:
        assert taken.getsockname() == bound[1].getsockname()
    sockets.close_rest()


def test_the_address_goes_before_the_name(bound: list[socket.socket]) -> None:
    """All sockets of one unit may have one name."""
    sockets = passed("submission:submission")
    taken = sockets.take(address(bound[1]), "submission")
    assert taken is not None
    with taken:
        assert taken.family == socket.AF_UNIX
    sockets.close_rest()


def test_what_nobody_wants_is_closed(bound: list[socket.socket]) -> None:
    """Its clients would wait for ever."""
    sockets = passed()
    assert sockets.take("127.0.0.1:1", "nobody") is None
    sockets.close_rest()
    for number, _ in enumerate(bound, FIRST):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_sockets_of_another_process_are_left_alone(bound: list[socket.socket]) -> None:
    """LISTEN_PID is not ours: the variables were inherited, the descriptors mean something else."""
    variables = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "A": "b"}
    assert PassedSockets(variables, FIRST).take(address(bound[0]), "") is None
    assert variables == {"A": "b"}
    for number, _ in enumerate(bound, FIRST):
        os.close(number)


def test_a_socket_that_takes_no_connections_is_refused() -> None:
    """ListenDatagram= in place of ListenStream=: said by its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wrong:
        os.dup2(wrong.fileno(), FIRST)
    with pytest.raises(CantListen, match="submission"):
        passed("submission", "1")


def test_what_is_no_socket_is_refused() -> None:
    """A count that is wrong, or a file: the operator hears which."""
    with pytest.raises(CantListen, match="no socket"):
        passed("submission", "1")
    with Path(os.devnull).open() as file:
        os.dup2(file.fileno(), FIRST)
        with pytest.raises(CantListen, match="no socket"):
            passed("submission", "1")
    os.close(FIRST)
