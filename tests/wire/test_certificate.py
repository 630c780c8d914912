"""The certificate to begin with."""

import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from filterrelay.wire.certificate import self_signed


@pytest.mark.parametrize("name", ["relay.office.example", "127.0.0.1"])
def test_a_client_that_trusts_it_finds_its_names_right(tmp_path: Path, name: str) -> None:
    """A real handshake, host names and addresses checked."""
    certificate, key = self_signed(["relay.office.example", "127.0.0.1"], datetime.now(UTC))
    (tmp_path / "cert").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    client = ssl.create_default_context(cafile=tmp_path / "cert")
    near, far = socket.socketpair()

    def serve() -> None:
        with server.wrap_socket(far, server_side=True) as secured:
            secured.send(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(near, server_hostname=name) as secured:
        assert secured.recv(10) == b"hello"
    thread.join()
