"""A real relay of one worker on free ports, as a process of its own."""

import asyncio
import getpass
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.peers.process import free_port

CONFIGURATION = """\
hostname = "relay.office.example"
state_dir = "state"
workers = 1
user = "{user}"
[[listener]]
kind = "smtp"
address = "127.0.0.1:{smtp}"
trusted_networks = ["127.0.0.0/8"]
[[upstream]]
name = "provider"
hosts = ["127.0.0.1:{upstream}"]
tls = "none"
[delivery]
drain = "2s"
[metrics]
address = "127.0.0.1:{metrics}"
[log]
format = "json"
"""


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for a condition; fails when it doesn't come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


async def until(condition: Callable[[], bool]) -> None:
    """The same for a condition that the event loop brings about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # a condition of any kind
            await asyncio.sleep(0.01)


@dataclass
class Relay:
    """The program, its files and ports."""

    directory: Path
    smtp: int
    metrics: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def configuration(self) -> Path:
        """Its file."""
        return self.directory / "filterrelay.toml"

    def log(self) -> str:
        """What it has logged."""
        return (self.directory / "log").read_text()

    def starts(self) -> int:
        """How often its supervisor has said that it serves; until then one death ends it."""
        log = self.directory / "log"
        return log.read_text().count('"serving"') if log.exists() else 0

    def change(self, old: str, new: str) -> None:
        """Changes the configuration file."""
        text = self.configuration.read_text()
        assert old in text
        self.configuration.write_text(text.replace(old, new))

    def start(self, trouble: str = "") -> None:
        """Starts it and waits until it serves. trouble: Python that spoils something before."""
        starts = self.starts()
        program = f"{trouble}\nfrom filterrelay.cli.main import main\nmain()"
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, "serve", "-c", str(self.configuration)],
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        wait_until(lambda: self.starts() > starts or self.exited())
        assert not self.exited(), self.log()
        wait_until(lambda: self.ask("/readyz")[0] == 200)

    def exited(self) -> bool:
        """Whether it is gone."""
        return self.process is None or self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Sends the supervisor a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def reload(self) -> None:
        """SIGHUP; returns when the next generation serves."""
        before = self.log().count('"reloaded"')
        self.signal(signal.SIGHUP)
        wait_until(lambda: self.log().count('"reloaded"') > before)

    def stop(self) -> int:
        """Ends it with SIGTERM; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=20)

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text of an HTTP answer; 0 when nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}{path}", timeout=5) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def told(self, series: str) -> float | None:
        """What /metrics says of a series, with its labels as they stand there."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.ask("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else None

    def children(self) -> list[int]:
        """The processes of the relay but for the supervisor."""
        assert self.process is not None
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def greeting(self) -> bytes:
        """What the door says first."""
        with self.client() as client:
            return client.recv(1000)

    def client(self) -> socket.socket:
        """A connection to the door."""
        return socket.create_connection(("127.0.0.1", self.smtp), timeout=10)


def say(client: socket.socket, text: str) -> str:
    """Sends a line, or a message and its dot; returns the reply's last line."""
    client.sendall(text.replace("\n", "\r\n").encode() + b"\r\n")
    received = ""
    while not (received.endswith("\r\n") and received.splitlines()[-1][3:4] == " "):
        part = client.recv(4096).decode()
        assert part, f"closed after {received!r}"
        received += part
    return received.splitlines()[-1]


def greeted(relay: Relay, by: str = "") -> socket.socket:
    """A client that has been greeted and has said EHLO.

    by: with that name; who has just been replaced may take one more client.
    """
    client = relay.client()
    while by.encode() not in client.recv(1000):
        client.close()
        client = relay.client()
    assert say(client, "EHLO client.example").startswith("250")
    return client


ENVELOPE = "MAIL FROM:<ann@office.example>", "RCPT TO:<user@partner.example>"


def begin(client: socket.socket) -> None:
    """A transaction up to its DATA."""
    for line in ENVELOPE:
        assert say(client, line).startswith("250")
    assert say(client, "DATA").startswith("354")


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """A relay that is not started yet; ended in any case."""
    made = Relay(tmp_path, free_port(), free_port())
    made.configuration.write_text(
        CONFIGURATION.format(
            user=getpass.getuser(),
            smtp=made.smtp,
            upstream=free_port(),
            metrics=made.metrics,
        )
    )
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
