"""Two independent verifiers of DKIM signatures: OpenDKIM and dkimpy."""

import re
from collections.abc import Iterable
from pathlib import Path

import dkim

from .certificates import DkimKey
from .process import run

_GOOD = re.compile(r"verification \(s=.*\) succeeded")


def opendkim_accepts(message: bytes, keys: Iterable[DkimKey], directory: Path) -> str:
    """Empty if OpenDKIM finds a good signature by one of the keys; else what it said.

    message: CRLF line ends. OpenDKIM reads the public keys from a file.
    """
    table = directory / "dkim-keys"
    table.write_text("".join(f"{key.name} {key.record}\n" for key in keys))
    stored = directory / "signed.eml"
    stored.write_bytes(message)
    configuration = directory / "opendkim.conf"
    configuration.write_text(f"Mode v\nTestPublicKeys {table}\n")
    done = run(["opendkim", "-x", str(configuration), "-v", "-v", "-t", str(stored)])
    said = done.stdout + done.stderr  # its exit code is 0 whatever it finds
    return "" if _GOOD.search(done.stdout) else f"OpenDKIM says: {said}"


def dkimpy_accepts(message: bytes, keys: Iterable[DkimKey]) -> bool:
    """Whether dkimpy finds the first signature good."""
    records = {f"{key.name}.".encode(): key.record.encode() for key in keys}
    return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: records.get(name, b"")))
