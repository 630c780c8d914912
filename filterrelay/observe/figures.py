# mypy: allow-untyped-calls
# (prometheus_client's part for several processes has no types)
"""prometheus_client's files of numbers, safe from a disk that is full.

It maps a file that has holes: to write into one on a full disk isn't an error but SIGBUS, the
end of the process. Here the room is taken before it is written to. And no link is followed: the
supervisor may be root, in a directory of the relay's own user.

At each count it also asks whether the process has forked, and looks the place up: with a dozen
counts a message that took a twentieth of its time. Here a process makes its figures after the fork.
"""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Any

import structlog
from prometheus_client.mmap_dict import MmapedDict, mmap_key

FIRST = 1 << 16  # octets that a file begins with, as prometheus_client has it
_THIS = "/proc/self/fd/{}"  # an open file's path, proc(5)
_AROUND = 64  # octets at most of an entry beside its key
_PAIR = Struct("dd")  # of an entry, behind its key: the number, and a time that only gauges have

log = structlog.get_logger(__name__)


class Figures(MmapedDict):
    """Numbers by their key, in a file. Raises OSError where the disk has no room for them."""

    def __init__(self, filename: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(filename, flags, 0o666)
        try:
            _reserve(descriptor, max(FIRST, os.fstat(descriptor).st_size))
            super().__init__(_THIS.format(descriptor))
        finally:
            os.close(descriptor)

    def make_room(self, octets: int) -> None:
        """Has so many octets free for entries."""
        capacity = self._capacity
        while capacity < self._used + octets:
            capacity *= 2
        if capacity > self._capacity:
            self._grow(capacity)
            self._m = mmap.mmap(self._f.fileno(), capacity)
            self._capacity = capacity

    def place(self, key: str) -> int:
        """Where the number of that key stands, and stays."""
        if key not in self._positions:
            self._init_value(key)
        return int(self._positions[key])

    def put(self, place: int, value: float, at: float = 0.0) -> None:
        """Writes a number where it stands."""
        self._m[place : place + _PAIR.size] = _PAIR.pack(value, at)

    def _grow(self, capacity: int) -> None:
        _reserve(self._f.fileno(), capacity)

    def _init_value(self, key: str) -> None:
        self.make_room(len(key.encode()) + _AROUND)
        super()._init_value(key)


class KeptFigures(Figures):
    """Those of one process, which counts on in memory where the disk has no room.

    What it counts there no scrape sees: it is lost when the process ends.
    """

    def __init__(self, filename: str) -> None:
        self._path = filename
        try:
            super().__init__(filename)
        except OSError as error:
            _tell(filename, error)
            with os.fdopen(_memory(), "r+b") as file:
                MmapedDict.__init__(self, _THIS.format(file.fileno()))

    def _grow(self, capacity: int) -> None:
        try:
            super()._grow(capacity)
        except OSError as error:
            _tell(self._path, error)
            memory = os.fdopen(_memory(), "r+b", buffering=0)
            memory.write(self._m[: self._used])
            memory.truncate(capacity)
            self._f.close()
            self._f = memory


class ProcessFigures:
    """The files of one process that has forked already, in a directory; one a kind of series."""

    def __init__(self, directory: Path, process: str) -> None:
        self._directory = directory
        self._process = process
        self._files: dict[str, KeptFigures] = {}
        self.lock = Lock()  # threads beside the event loop count, too

    def of(self, kind: str) -> KeptFigures:
        """The file of that kind, opened when it is first asked for."""
        if kind not in self._files:
            file = self._directory / f"{kind}_{self._process}.db"
            self._files[kind] = KeptFigures(str(file))
        return self._files[kind]


class Figure:
    """One number of a process, as prometheus_client makes its values: by these parameters."""

    __slots__ = ("_at", "_figures", "_lock", "_value")

    def __init__(
        self,
        files: ProcessFigures,
        kind: str,
        metric: str,
        name: str,
        labels: Sequence[str],
        values: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
        **_: Any,
    ) -> None:
        self._lock = files.lock
        with self._lock:
            self._figures = files.of(f"{kind}_{multiprocess_mode}" if kind == "gauge" else kind)
            key = mmap_key(metric, name, list(labels), list(values), help_text)
            self._at = self._figures.place(key)
            self._value: float = self._figures.read_value(key)[0]

    def inc(self, amount: float) -> None:
        """Adds to it."""
        with self._lock:
            self._value += amount
            self._figures.put(self._at, self._value)

    def set(self, value: float, timestamp: float | None = None) -> None:
        """Gives it another value. timestamp: seconds since 1970, of gauges that go by time."""
        with self._lock:
            self._value = value
            self._figures.put(self._at, value, timestamp or 0.0)

    def get(self) -> float:
        """What it is."""
        return self._value

    def set_exemplar(self, exemplar: object) -> None:
        """Drops it: the files have no place for one."""

    def get_exemplar(self) -> None:
        """None, which is asked for whenever the process looks at its own series."""


def _reserve(descriptor: int, octets: int) -> None:
    """Makes a file that long without holes. Raises OSError."""
    os.posix_fallocate(descriptor, 0, octets)


def _memory() -> int:
    return os.memfd_create("figures", os.MFD_CLOEXEC)


def _tell(filename: str, error: OSError) -> None:
    log.error("figures_not_kept", path=filename, reason=error.strerror)
