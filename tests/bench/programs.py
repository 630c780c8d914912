"""Programs run in the foreground, in a directory and an account of their own."""

import os
import shutil
import signal
import smtplib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.account import Account, open_account
from tests.bench.errors import MissingProgram, StartFailed

_START_TIMEOUT = 60.0  # seconds
_STOP_TIMEOUT = 15.0  # seconds
_SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str, package: str) -> str:
    """The path of a program, daemons' directories included."""
    program = shutil.which(name, path=os.environ.get("PATH", "") + _SBIN)
    if program is None:
        raise MissingProgram(name, package)
    return program


def cache(name: str) -> Path:
    """A directory outside of the tree for what takes long to make, and is good for ever."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = caches / "filterrelay-bench" / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def write(path: Path, text: str) -> None:
    """Write a configuration file, its directory made first; readable by the program's own user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Programs:
    """What is started together and counted together. title: how a reader knows it."""

    def __init__(self, name: str, title: str, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(mode=0o755)
        self.log = self.directory / "log"
        self.account: Account = open_account(name)
        self._title = title
        self._processes: list[subprocess.Popen[bytes]] = []

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

    def wait_for(self, what: str, probe: Callable[[], object]) -> None:
        """Wait until probe raises no OSError any more. what: what it looks at."""
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            for process in self._processes:
                if process.poll() is not None:
                    raise StartFailed(self._title, f"it ended with {process.returncode}", self.log)
            try:
                probe()
            except OSError as error:
                if time.monotonic() > deadline:
                    raise StartFailed(self._title, f"{what}: {error}", self.log) from error
            else:
                return
            time.sleep(0.1)

    def await_greeting(self, port: int) -> None:
        """Wait until an SMTP server greets on a loopback port."""

        def greeting() -> None:
            with smtplib.SMTP("127.0.0.1", port, timeout=5):  # its exceptions are OSErrors
                pass

        self.wait_for(f"port {port}", greeting)

    def stop(self) -> None:
        """End what was started, the last first."""
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
