"""Programs run on loopback from a directory of their own, and ended for sure."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
# Below what the system gives to outgoing connections; each of the processes that run tests has
# its own, or two would now and then give the same one before anybody listens on it.
_PORTS = range(20_000 + _WORKER, 32_000, _WORKERS)
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # where daemons lie; not on every user's PATH


def find_program(name: str) -> str | None:
    """Where the program lies, the daemons' folders included; None when it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


@contextmanager
def workplace(name: str) -> Iterator[Path]:
    """A directory with a short path that every user may enter; gone at the end.

    Servers change their user, and a Unix socket's path ends at 107 octets.
    """
    directory = Path(tempfile.mkdtemp(prefix=f"fr-{name}-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


_given: set[int] = set()  # a port that was given and isn't listened on yet is not free


def free_port() -> int:
    """A port that nobody on this machine listens on just now."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError("no free port among a hundred tried")


def bound(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Two sockets for UDP and TCP bound to this port. Raises OSError."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        udp.bind((host, port))
        tcp.bind((host, port))
    except OSError:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


def udp_and_tcp() -> tuple[socket.socket, socket.socket]:
    """Two sockets bound to one port, as a name server has them."""
    for _ in range(20):
        with contextlib.suppress(OSError):  # free for the one, taken for the other
            return bound(LOOPBACK, free_port())
    raise RuntimeError("no port is free for both UDP and TCP")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """The condition's first true value; fails the test when it doesn't come in time."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def listens(port: int, address: str = LOOPBACK) -> bool:
    """Whether a server takes connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def _processes() -> Iterator[tuple[int, int, int]]:
    """Number, parent and group of every process but those that wait to be reaped."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, parent, group = (
                (entry / "stat").read_text().rpartition(")")[2].split(maxsplit=3)[:3]
            )
            if state not in "ZX":
                yield int(entry.name), int(parent), int(group)


def members(group: int) -> list[int]:
    """The processes of a process group."""
    return [number for number, _, its_group in _processes() if its_group == group]


def children(parent: int) -> list[int]:
    """The processes that a process has started and not yet reaped."""
    return [number for number, its_parent, _ in _processes() if its_parent == parent]


class Process:
    """A server in a process group of its own, its output in a file.

    argv: the program, by name or path, and its arguments. log: takes standard
    output and error. env: added to the environment.
    """

    def __init__(
        self, argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None
    ) -> None:
        program = find_program(argv[0])
        if program is None:
            raise FileNotFoundError(f"{argv[0]} is not installed")
        self.name = Path(argv[0]).name
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [program, *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The leader's process number, which is its group's too."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._popen.poll()

    def wait_for_port(self, port: int, seconds: float = 20.0, address: str = LOOPBACK) -> None:
        """Returns once the port takes connections; fails with the log's end if it never does."""

        def ready() -> bool:
            if self.exit_code is not None:
                raise AssertionError(f"ended with {self.exit_code}:\n{self.output()[-2000:]}")
            return listens(port, address)

        wait_until(ready, f"port {port} of {self.name}", seconds)

    def output(self) -> str:
        """All that it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the leader alone."""
        self._popen.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Its exit code; fails when it doesn't end in time."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {seconds:g} s") from None

    def stop(self, seconds: float = 10.0) -> int:
        """Asks it to end (SIGTERM) and returns its exit code; none of its group survives."""
        try:
            if self.exit_code is None:
                self.signal(signal.SIGTERM)
            return self.wait(seconds)
        finally:
            self.kill_group()

    def kill_group(self) -> None:
        """Kills everything it started, as a power cut would, and waits until all are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        wait_until(lambda: not members(self.pid), f"the end of group {self.pid}")


def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    seconds: float = 60.0,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end and returns what it printed; its exit code is the caller's."""
    program = find_program(argv[0])
    if program is None:
        raise FileNotFoundError(f"{argv[0]} is not installed")
    done = subprocess.run(
        [program, *argv[1:]],
        input=stdin,
        capture_output=True,
        timeout=seconds,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args,
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )
