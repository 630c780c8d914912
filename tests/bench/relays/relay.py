"""What every relay of the benchmark is: processes in an account, two doors, one sink."""

import os
import shutil
import signal
import smtplib
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

from tests.bench import site
from tests.bench.account import Account, open_account
from tests.bench.errors import MissingProgram, StartFailed
from tests.bench.sink import Sink
from tests.bench.site import Site
from tests.bench.works import Work

_START_TIMEOUT = 30.0  # seconds
_STOP_TIMEOUT = 15.0  # seconds
_SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str, package: str) -> str:
    """The path of a program, daemons' directories included."""
    program = shutil.which(name, path=os.environ.get("PATH", "") + _SBIN)
    if program is None:
        raise MissingProgram(name, package)
    return program


class Relay(ABC):
    """One relay, configured in a directory of its own."""

    name: str
    title: str
    ours: bool = False  # filterrelay itself, not a peer
    strangers_port: int | None = None  # where clients say with a PROXY header who they are

    def __init__(self, office: Site) -> None:
        self.office = office
        self.directory = office.directory / self.name
        self.directory.mkdir(mode=0o755)
        self.log = self.directory / "log"
        self.account: Account = open_account(self.name)
        self.sink: Sink | None = None
        self.sink_port = site.free_port()
        self.plain_port = site.free_port()
        self.submission_port = site.free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def configure(self) -> None:
        """Write what the relay's programs read."""

    @abstractmethod
    def launch(self) -> None:
        """Start the relay's programs with `spawn`."""

    def start(self) -> None:
        """Configure, launch, and wait until both doors greet."""
        self.configure()
        self.launch()
        for port in (self.plain_port, self.submission_port):
            self._await_greeting(port)

    def open_sink(self) -> None:
        """Start the sink that counts."""
        self.sink = Sink.start(self.sink_port)

    def door(self, work: Work) -> tuple[int, bool]:
        """The port that a work goes to, and whether clients begin with a PROXY header there."""
        if work.strangers and self.strangers_port is not None:
            return self.strangers_port, True
        return (self.submission_port if work.submission else self.plain_port), False

    def spawn(self, argv: list[str], environment: dict[str, str] | None = None) -> None:
        """Start a program whose processes are counted; it must stay in the foreground."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.account.command(argv),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                env={**os.environ, **(environment or {})}, start_new_session=True,
            )  # fmt: skip
        self.account.adopt(process.pid)
        self._processes.append(process)

    def stop(self) -> None:
        """End what was started, the last first, and the sink after it."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in self.account.pids():  # what outlived its parent
            os.kill(pid, signal.SIGKILL)
        self.account.close()
        if self.sink is not None:
            self.sink.stop()

    def _await_greeting(self, port: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            for process in self._processes:
                if process.poll() is not None:
                    raise StartFailed(self.title, f"it ended with {process.returncode}", self.log)
            try:
                with smtplib.SMTP("127.0.0.1", port, timeout=5):
                    return
            except (OSError, smtplib.SMTPException) as error:
                if time.monotonic() > deadline:
                    raise StartFailed(self.title, f"port {port}: {error}", self.log) from error
            time.sleep(0.1)


def write(path: Path, text: str) -> None:
    """Write a configuration file, its directory made first; readable by the relay's own user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
