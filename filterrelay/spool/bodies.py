"""Bodies too large for the database, each in a file of its own.

Names are never used twice, so a file belongs to the one row that names it: it
is written before that row and removed after it, and one that no row names is
left over from a crash.
"""

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

_FOLDERS = 32


class BodyFiles:
    """The directory `spool.bodies`, with a few below it so that none grows long."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self) -> None:
        """Makes the directories, once and durably. Raises OSError."""
        if (self._root / f"{_FOLDERS - 1:02x}").is_dir():
            return
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(_FOLDERS):
            (self._root / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
        _sync_directory(self._root)
        _sync_directory(self._root.parent)

    def write(self, message_id: str, body: bytes) -> str:
        """Writes the bytes durably; returns the file's name. Raises OSError."""
        quoted = quote(message_id, safe="")
        name = f"{zlib.crc32(quoted.encode()) % _FOLDERS:02x}/{quoted}.{os.urandom(4).hex()}"
        path = self._root / name
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(file, body)
            os.fsync(file)
            _sync_directory(path.parent)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
        return name

    def read(self, name: str) -> bytes:
        """The bytes. Raises FileNotFoundError when its message is gone."""
        return (self._root / name).read_bytes()

    def remove(self, names: Iterable[str]) -> None:
        """Removes files whose rows are gone."""
        for name in names:
            (self._root / name).unlink(missing_ok=True)

    def older_than(self, before: float) -> Iterator[tuple[str, str]]:
        """Names and message IDs of the files last written before that time (POSIX)."""
        for path in self._root.glob("??/*"):
            try:
                written = path.stat().st_mtime
            except FileNotFoundError:  # its message has gone meanwhile
                continue
            if written < before:
                yield f"{path.parent.name}/{path.name}", unquote(path.stem)


def write_all(file: int, content: bytes) -> None:
    """Writes the bytes to the open file, however few it takes at a time. Raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_directory(directory: Path) -> None:
    """Makes the names in it durable."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
