# mypy: allow-untyped-calls
# (prometheus_client's part for several processes has no types)
"""prometheus_client's files of numbers, safe from a disk that is full.

It maps a file that has holes: to write into one on a full disk isn't an error but SIGBUS, the
end of the process. Here the room is taken before it is written to. And no link is followed: the
supervisor may be root, in a directory of the relay's own user.
"""

import mmap
import os

import structlog
from prometheus_client.mmap_dict import MmapedDict

FIRST = 1 << 16  # octets that a file begins with, as prometheus_client has it
_THIS = "/proc/self/fd/{}"  # an open file's path, proc(5)
_AROUND = 64  # octets at most of an entry beside its key

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


def _reserve(descriptor: int, octets: int) -> None:
    """Makes a file that long without holes. Raises OSError."""
    os.posix_fallocate(descriptor, 0, octets)


def _memory() -> int:
    return os.memfd_create("figures", os.MFD_CLOEXEC)


def _tell(filename: str, error: OSError) -> None:
    log.error("figures_not_kept", path=filename, reason=error.strerror)
