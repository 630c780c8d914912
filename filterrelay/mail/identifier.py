"""Identifiers for messages and sessions: short, sortable by time, safe to read aloud."""

import os
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_LENGTH = 17


def new_id(now: datetime) -> str:
    """A new identifier of 17 characters: 45 bits of milliseconds, 40 random bits."""
    value = int(now.timestamp() * 1000) << 40 | int.from_bytes(os.urandom(5), "big")
    return "".join([_ALPHABET[value >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5)])
