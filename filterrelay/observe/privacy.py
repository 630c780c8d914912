"""Mail addresses in the log: shortened or hashed, so that it can be kept longer and read by more.

The trace in the spool has them in full.
"""

import contextlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator, MutableMapping
from functools import lru_cache
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Literal

from filterrelay.observe.events import COMMON, FIELDS, events

Addresses = Literal["full", "short", "hashed"]
Mask = Callable[[str], str]

_HOLDS = {name: field.holds for name, field in {**COMMON, **FIELDS}.items()}
_NAMES = frozenset(event.name for event in events())
_KEY_OCTETS = 32
_REMEMBERED = 4096  # addresses
_DIGITS = (16, 8)  # hexadecimal ones, of an address and of its domain
_WORST_LOCAL = 255  # characters, beyond any that RFC 5321 allows, so that a search can't take long
_ADDRESS = re.compile(
    rf'(?:"[^"\r\n]{{0,{_WORST_LOCAL}}}"|[^\s<>"(),:;\[\]\\@]{{1,{_WORST_LOCAL}}})'
    r"@(?:\[[0-9A-Za-z:.]+\]|\w(?:[\w.-]*\w)?)"
)


def shortened(address: str) -> str:
    """The first letter and the domain: `a…@office.example`."""
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = domain, ""
    return f"{local.lstrip(chr(34))[:1]}…{at}{domain}"


def hashing(key: str) -> Mask:
    """What makes `6d1f0c9a5e3b7a20@94c1f2e0` of an address, the same whatever its case.

    The first half is of the whole address, the second of the domain: HMAC-SHA-256 of the
    lower-case text. key: hexadecimal.
    """
    octets = bytes.fromhex(key)

    def digest(text: str, digits: int) -> str:
        return hmac.digest(octets, text.encode("utf-8", "replace"), "sha256").hex()[:digits]

    @lru_cache(maxsize=_REMEMBERED)
    def hashed(address: str) -> str:
        lower = address.lower()
        domain = lower.rpartition("@")[2] if "@" in lower else ""
        whole = digest(lower, _DIGITS[0])
        return f"{whole}@{digest(domain, _DIGITS[1])}" if domain else whole

    return hashed


def key_in(file: Path) -> str:
    """The key that all processes hash with, made when there is none. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return _checked(file.read_text())
    file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor, name = mkstemp(prefix=f"{file.name}.", dir=file.parent)  # for the relay alone
    made = Path(name)
    try:
        with os.fdopen(descriptor, "w") as output:
            output.write(f"{secrets.token_hex(_KEY_OCTETS)}\n")
        with contextlib.suppress(FileExistsError):  # another process was first
            file.hardlink_to(made)
    finally:
        made.unlink()
    return _checked(file.read_text())


def _checked(text: str) -> str:
    key = text.strip()
    if not re.fullmatch(r"[0-9a-f]{64}", key):
        raise OSError("it is no key: 64 hexadecimal digits are wanted")
    return key


class Privacy:
    """A processor that makes every address in an event private."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask

    def __call__(
        self, logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The same event with other values; a field that nobody knows counts as words."""
        known = self._known(event)
        for name, value in event.items():
            match _HOLDS.get(name, "text"):
                case "address":
                    event[name] = self._addresses(value)
                case "text" if name != "event" or value not in _NAMES:
                    event[name] = self._words(value, known)
        return event

    def _known(self, event: MutableMapping[str, Any]) -> re.Pattern[str] | None:
        """What is to be found in words beside that which looks like an address: logins, mostly."""
        names = {name for name in _strings(event) if not _ADDRESS.fullmatch(name)}
        if not names:
            return None
        longest_first = sorted(map(re.escape, names), key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", re.IGNORECASE)

    def _addresses(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._mask(value) if value else value
        return [self._addresses(each) for each in value] if isinstance(value, list) else value

    def _words(self, value: Any, known: re.Pattern[str] | None) -> Any:
        match value:
            case str():
                if known is not None:
                    value = known.sub(self._found, value)
                return _ADDRESS.sub(self._found, value) if "@" in value else value
            case dict():
                return {name: self._words(each, known) for name, each in value.items()}
            case list() | tuple():
                return [self._words(each, known) for each in value]
            case _:
                return value

    def _found(self, matched: re.Match[str]) -> str:
        return self._mask(matched[0])


def _strings(event: MutableMapping[str, Any]) -> Iterator[str]:
    """The values of fields that hold addresses."""
    for name, value in event.items():
        if _HOLDS.get(name) == "address":
            yield from filter(None, [value] if isinstance(value, str) else value or ())


def privacy(addresses: Addresses, key_file: Path | None) -> tuple[Privacy | None, str]:
    """What makes addresses private as the file wants it; None when they are logged in full.

    And why the key is one of this process's own, where there can be no shared one.
    """
    match addresses:
        case "full":
            return None, ""
        case "short":
            return Privacy(shortened), ""
        case "hashed":
            key, trouble = _key(key_file)
            return Privacy(hashing(key)), trouble


def _key(file: Path | None) -> tuple[str, str]:
    trouble = "no state directory is known"
    if file is not None:
        try:
            return key_in(file), ""
        except OSError as error:
            trouble = error.strerror or str(error)
    return secrets.token_hex(_KEY_OCTETS), trouble
