"""`filterrelay health` beside a relay that is ready, one that isn't, and none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from .conftest import Run


@contextmanager
def answering(status: int, text: str) -> Iterator[int]:
    """A relay's metrics port that answers so to /readyz."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(f"{text}\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_ready_is_exit_code_0(configuration: Path, filterrelay: Run, host: str) -> None:
    """At the file's address, and at one that is listened on everywhere."""
    with answering(200, "ready") as port:
        text = configuration.read_text()
        configuration.write_text(f'{text}[metrics]\naddress = "{host}:{port}"\n')
        ran = filterrelay("health")
    assert (ran.code, ran.out) == (0, "ready\n")


def test_not_ready_is_exit_code_1_and_why(filterrelay: Run) -> None:
    """Each trouble that the relay names."""
    with answering(503, "no worker is ready\nthe disk is full") as port:
        address = f"127.0.0.1:{port}"
        ran = filterrelay("health", "--address", address)
        document = filterrelay("health", "--address", address, "--json").json
    assert (ran.code, ran.out) == (1, "no worker is ready\nthe disk is full\n")
    assert document == {"ready": False, "troubles": ["no worker is ready", "the disk is full"]}


def test_no_answer_is_exit_code_1(filterrelay: Run) -> None:
    """Nobody listens there."""
    ran = filterrelay("health", "--address", "127.0.0.1:1")
    assert ran.code == 1
    assert ran.out.startswith("no answer at 127.0.0.1:1: ")


def test_nobody_can_be_asked_without_an_address(configuration: Path, filterrelay: Run) -> None:
    """The metrics are switched off."""
    configuration.write_text(f'{configuration.read_text()}[metrics]\naddress = ""\n')
    assert "no address" in filterrelay("health").err


def test_a_bad_address_is_wrong_usage(filterrelay: Run) -> None:
    """Exit code 2."""
    assert filterrelay("health", "--address", "nowhere").code == 2
