"""What was learned, as a file in the state directory.

All numbers are little-endian: MAGIC with the format's version; the numbers of
spam messages, ham messages, tokens, spam digests and ham digests (u32 each); the
tokens' keys, their counts in spam and in ham (u32 each), the most frequent token
first; the digests of the messages (u64 each), the oldest first; the CRC-32 of
all before. The words themselves are not in it.
"""

import os
import struct
import sys
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from filterrelay.errors import FilterRelayError

MAX_TOKENS = 300_000
MAX_DIGESTS = 200_000  # of each kind
_MAGIC = b"FRSPAM01"
_HEAD = struct.Struct("<8sIIIII")
_TOKEN = 12  # octets: three u32
_DIGEST = 8
_LARGEST = _HEAD.size + _TOKEN * MAX_TOKENS + 2 * _DIGEST * MAX_DIGESTS + 4


@dataclass
class DamagedFile(FilterRelayError):
    """What the spam classifier learned can't be read; move the file away and learn anew."""

    path: str
    reason: str


def _u32() -> "array[int]":
    return array("I")


def _u64() -> "array[int]":
    return array("Q")


@dataclass(frozen=True, slots=True)
class Learned:
    """The file's contents: parallel arrays of tokens, and digests by kind."""

    spam_messages: int = 0
    ham_messages: int = 0
    keys: "array[int]" = field(default_factory=_u32)
    in_spam: "array[int]" = field(default_factory=_u32)
    in_ham: "array[int]" = field(default_factory=_u32)
    spam_digests: "array[int]" = field(default_factory=_u64)
    ham_digests: "array[int]" = field(default_factory=_u64)

    def entries(self) -> Iterator[tuple[int, int, int]]:
        """Each token's key and how many spam and ham messages had it."""
        return zip(self.keys, self.in_spam, self.in_ham, strict=True)


def file_in(state_dir: Path) -> Path:
    """Where the file lies."""
    return state_dir / "learned"


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file is replaced, or None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def read(path: Path) -> Learned:
    """The file's contents, empty when there is no file. Raises DamagedFile."""
    try:
        with path.open("rb") as file:
            octets = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return Learned()
    except OSError as error:
        raise DamagedFile(str(path), error.strerror or str(error)) from error
    if len(octets) < _HEAD.size + 4 or not octets.startswith(_MAGIC[:6]):
        raise DamagedFile(str(path), "it is no such file")
    magic, spam, ham, tokens, spam_digests, ham_digests = _HEAD.unpack_from(octets)
    if magic != _MAGIC:
        raise DamagedFile(str(path), f"its format is {magic!r}, known is {_MAGIC!r}")
    sizes = (4 * tokens,) * 3 + (_DIGEST * spam_digests, _DIGEST * ham_digests)
    if len(octets) != _HEAD.size + sum(sizes) + 4 or _checksum(octets[:-4]) != octets[-4:]:
        raise DamagedFile(str(path), "it is cut off or was changed")
    columns = []
    start = _HEAD.size
    for kind, size in zip("IIIQQ", sizes, strict=True):
        columns.append(_from_octets(kind, octets[start : start + size]))
        start += size
    return Learned(spam, ham, *columns)


def write(path: Path, learned: Learned) -> None:
    """Replaces the file in one step: a reader sees the old or the new, whole.

    Written by root, it belongs to whom the directory belongs to, so that the service can read it.
    """
    columns = (learned.keys, learned.in_spam, learned.in_ham)
    digests = (learned.spam_digests, learned.ham_digests)
    head = _HEAD.pack(
        *(_MAGIC, learned.spam_messages, learned.ham_messages, len(learned.keys)),
        *map(len, digests),
    )
    octets = b"".join((head, *map(_octets, columns), *map(_octets, digests)))
    handle, name = tempfile.mkstemp(prefix=".learned-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(octets + _checksum(octets))
            file.flush()
            os.fchmod(handle, 0o640)
            if os.geteuid() == 0:
                owner = path.parent.stat()
                os.fchown(handle, owner.st_uid, owner.st_gid)
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _checksum(octets: bytes) -> bytes:
    return crc32(octets).to_bytes(4, "little")


def _octets(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


def _from_octets(kind: str, octets: bytes) -> "array[int]":
    numbers = array(kind, octets)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
