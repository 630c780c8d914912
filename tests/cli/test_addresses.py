"""Whether an address could be listened on, found without taking it."""

import os
import socket
from pathlib import Path

import pytest

from filterrelay.cli.addresses import addresses, bindable
from filterrelay.settings import Settings


def test_a_free_port_can_be_had() -> None:
    """And is free again afterwards."""
    assert bindable("127.0.0.1:0", running=False) == ("ok", "can be listened on")
    assert bindable("[::1]:0", running=False)[0] in ("ok", "failed")  # a machine may have no IPv6


def test_a_port_in_use_may_be_the_relays_own() -> None:
    """A warning while the relay runs; else it is somebody else's, and can't be had."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        state, text = bindable(address, running=True)
        assert bindable(address, running=False) == ("failed", "Address already in use")
    assert state == "warning"
    assert "perhaps by the relay itself" in text


@pytest.mark.parametrize("address", ["192.0.2.1:2525", "nowhere.invalid:2525"])
def test_an_address_that_is_not_ours_fails(address: str) -> None:
    """Another machine's, and one that has no number."""
    assert bindable(address, running=False)[0] == "failed"


def test_a_port_for_root_alone_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who checks need not be who serves."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filterrelay.cli.addresses._bind", refuse)
    state, text = bindable("127.0.0.1:25", running=False)
    assert (state, "as root" in text) == ("warning", True)


def test_a_socket_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """A relay may be listening on it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        assert bindable(f"unix:{tmp_path}/s", running=True)[0] == "ok"
    assert (tmp_path / "s").is_socket()


def test_a_socket_needs_a_place(tmp_path: Path) -> None:
    """A directory, and nothing else of that name in it."""
    (tmp_path / "file").touch()
    file = bindable(f"unix:{tmp_path}/file", running=False)
    assert file == ("failed", "there is something else than a socket")
    assert bindable(f"unix:{tmp_path}/none/s", running=False)[0] == "failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_is_closed_is_a_warning() -> None:
    """The relay may be somebody else."""
    assert bindable("unix:/proc/filterrelay", running=False)[0] == "warning"


def test_listeners_and_metrics_are_listened_on() -> None:
    """Each by its name."""
    settings = Settings.model_validate(
        {"listener": [{"kind": "smtp", "name": "printers", "address": "127.0.0.1:2525"}]}
    )
    assert list(addresses(settings)) == [
        ("printers", "127.0.0.1:2525"),
        ("metrics", "127.0.0.1:9325"),
    ]
