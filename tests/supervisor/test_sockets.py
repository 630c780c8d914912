"""Listening sockets."""

import grp
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from filterrelay.supervisor.sockets import CantListen, listen


def connected(address: Any, family: socket.AddressFamily = socket.AF_INET) -> None:
    """Fails unless somebody listens there."""
    with socket.socket(family) as client:
        client.connect(address)


def test_a_port_is_listened_on() -> None:
    """A client connects before any worker accepts: the kernel keeps it waiting."""
    with listen("127.0.0.1:0") as sock:
        connected(sock.getsockname())
        assert not sock.getblocking()


def test_ipv6_is_listened_on() -> None:
    """`[::1]:port` as the configuration writes it."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with listen("[::1]:0") as sock:
        connected(sock.getsockname(), socket.AF_INET6)


def test_a_unix_socket_replaces_one_left_by_a_crash(tmp_path: Path) -> None:
    """A stale socket file doesn't keep the relay from starting."""
    path = tmp_path / "door.sock"
    listen(f"unix:{path}").close()
    with listen(f"unix:{path}"):
        connected(str(path), socket.AF_UNIX)


def test_a_unix_socket_gets_its_mode_and_its_group(tmp_path: Path) -> None:
    """The mail server's user may connect, and nobody else."""
    path = tmp_path / "milter.sock"
    group = grp.getgrgid(os.getgid()).gr_name
    with listen(f"unix:{path}", mode=0o606, group=group):
        assert stat.S_IMODE(path.stat().st_mode) == 0o606
        assert path.stat().st_gid == os.getgid()


def test_only_a_unix_socket_itself_gets_its_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the folder may put a link in its place: another's file isn't opened up."""
    path, precious = tmp_path / "milter.sock", tmp_path / "precious"
    precious.write_text("keep me")
    precious.chmod(0o600)
    bind = socket.socket.bind

    class Raced(socket.socket):
        def bind(self, address: Any) -> None:
            bind(self, address)
            path.unlink()
            path.symlink_to(precious)

    monkeypatch.setattr(socket, "socket", Raced)
    group = grp.getgrgid(os.getgid()).gr_name
    with listen(f"unix:{path}", mode=0o666, group=group):
        assert stat.S_IMODE(precious.stat().st_mode) == 0o600


def test_a_group_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A typing error in the configuration stops the start, and says what it is."""
    with pytest.raises(CantListen, match="nobodys-group"):
        listen(f"unix:{tmp_path}/milter.sock", group="nobodys-group")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As `filterrelay check` names it."""
    with pytest.raises(CantListen, match=f"there is no directory {tmp_path}/none"):
        listen(f"unix:{tmp_path}/none/milter.sock")


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A typing error in the configuration deletes nothing."""
    path = tmp_path / "precious"
    path.write_text("keep me")
    with pytest.raises(CantListen):
        listen(f"unix:{path}", pause=lambda _: None)
    assert path.read_text() == "keep me"


def test_an_address_in_use_is_named() -> None:
    """The operator reads which address and why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CantListen, match="in use") as caught:
            listen(address, pause=lambda _: None)
    assert address in str(caught.value)


def test_an_address_comes_free_while_it_is_waited_for() -> None:
    """A predecessor that was killed gets a moment to let go."""
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    listen(address, pause=lambda _: taken.close()).close()
