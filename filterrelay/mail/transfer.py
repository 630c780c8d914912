"""Content transfer encodings (RFC 2045 section 6), read as leniently as mail programs do."""

import binascii
import quopri
import re

PLAIN = frozenset({"", "7bit", "8bit", "binary"})
UUENCODE = frozenset({"x-uuencode", "x-uue", "uuencode", "uue"})
KNOWN = PLAIN | UUENCODE | {"base64", "quoted-printable"}

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FOREIGN = bytes(octet for octet in range(256) if octet not in _ALPHABET)
_PADDING = re.compile(rb"=[=\s]*")
_MAX_RUNS = 1000  # of base64, each with padding at its end
_UU_BEGIN = re.compile(rb"(?:\A|\r\n)begin [0-7]{3,4} ([^\r\n]*)")
_UU_WORD = b"begin "  # quicker to find


def decoded(encoded: bytes, encoding: str) -> bytes:
    """The content; what is in no known encoding, or in none, stays as it is."""
    if encoding == "base64":
        return _base64(encoded)
    if encoding == "quoted-printable":
        return quopri.decodestring(encoded)
    if encoding in UUENCODE:
        return _uuencode(encoded)
    return encoded


def decoded_beginning(encoded: bytes, encoding: str, octets: int) -> bytes:
    """About the first so many octets of the content, without decoding the rest."""
    if encoding == "base64":
        plain = encoded[: octets * 3 // 2].translate(None, b"\r\n \t")
        return _base64(plain[: len(plain) // 4 * 4])
    return decoded(encoded[:octets], encoding)


def goes_on_behind_padding(encoded: bytes) -> bool:
    """Whether base64 stands behind the padding that should end it (RFC 2045 section 6.8)."""
    padding = encoded.find(b"=")
    return padding >= 0 and bool(encoded[padding:].translate(None, b"= \t\r\n"))


def uuencoded_names(encoded: bytes, most: int) -> list[str]:
    """The names of the first files in there."""
    found: list[str] = []
    at = encoded.find(_UU_WORD)
    while at >= 0 and len(found) < most:
        begin = _UU_BEGIN.match(encoded, max(0, at - 2))
        if begin is not None:
            found.append(begin[1].decode("latin-1").strip())
        at = encoded.find(_UU_WORD, at + 1)
    return found


def _base64(encoded: bytes) -> bytes:
    """What the base64 says, with foreign characters left out, and read on behind padding.

    Some programs stop at padding and others don't; what the others see is more.
    """
    if not goes_on_behind_padding(encoded):
        try:
            return binascii.a2b_base64(encoded)
        except binascii.Error:
            return _base64_run(encoded)
    return b"".join(_base64_run(run) for run in _PADDING.split(encoded, _MAX_RUNS))


def _base64_run(encoded: bytes) -> bytes:
    """Base64 without its padding; a last character that holds no whole octet is lost."""
    clean = encoded.translate(None, _FOREIGN)
    if len(clean) % 4 == 1:
        clean = clean[:-1]
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


def _uuencode(encoded: bytes) -> bytes:
    """What stands between the lines `begin` and `end`, of all files one behind the other."""
    pieces: list[bytes] = []
    for block in _UU_BEGIN.split(encoded)[2::2]:
        for line in block.split(b"\r\n")[1:]:
            if line.strip() == b"end":
                break
            pieces.append(_uuencoded_line(line))
    return b"".join(pieces)


def _uuencoded_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:  # some programs write blanks or a checksum behind the octets
        octets = (line[0] - 32) & 63 if line else 0
        try:
            return binascii.a2b_uu(line[: 1 + (octets * 4 + 2) // 3])
        except binascii.Error:
            return b""
