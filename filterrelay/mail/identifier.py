"""Identifiers for messages and sessions: short, sortable by time, safe to read aloud."""

import hashlib
import os
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_LENGTH = 17


def new_id(now: datetime) -> str:
    """A new identifier of 17 characters: 45 bits of milliseconds, 40 random bits."""
    return _written(int(now.timestamp() * 1000) << 40 | int.from_bytes(os.urandom(5), "big"))


def derived_id(*parts: bytes) -> str:
    """The identifier that the same parts always get; it tells no time."""
    digest = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).digest()
    return _written(int.from_bytes(digest, "big") & (1 << 5 * _LENGTH) - 1)


def _written(value: int) -> str:
    return "".join([_ALPHABET[value >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5)])
