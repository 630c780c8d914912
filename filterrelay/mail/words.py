"""Text out of octets: by charset, and RFC 2047 words in header values."""

import codecs
from email.errors import HeaderParseError
from email.header import decode_header
from encodings.aliases import aliases

MAX_WORDS = 16 * 1024  # characters of a header value whose encoded words are decoded

# A sender names the charset. Python would search the disk for each name it doesn't know and
# remember it for ever, and some codecs that it does know are no charsets (some even quadratic).
_NO_CHARSETS = {
    *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"),
    "mbcs",
}
_CODECS = {*aliases.values(), "koi8_u"} - _NO_CHARSETS
_CHARSETS = {codec: codec for codec in _CODECS} | {
    alias: codec for alias, codec in aliases.items() if codec in _CODECS
}


def decode_words(value: str) -> str:
    """A header value with its RFC 2047 encoded words decoded; broken ones stay as they are."""
    if "=?" not in value:
        return value
    if len(value) > MAX_WORDS:
        return decode_words(value[:MAX_WORDS]) + value[MAX_WORDS:]
    try:
        return "".join(
            as_text(text, charset or "latin-1") if isinstance(text, bytes) else text
            for text, charset in decode_header(value)
        )
    except (HeaderParseError, ValueError):
        return value


def as_text(content: bytes, charset: str, *, final: bool = True) -> str:
    """The text by its charset, else as UTF-8, else as Latin-1.

    final: False when the content is cut off; then a broken last character is left out.
    """
    named = _CHARSETS.get(charset.lower().replace("-", "_"), "utf_8")
    for codec in (named, "utf_8"):
        try:
            return codecs.getincrementaldecoder(codec)().decode(content, final)
        except ValueError:
            continue
    return content.decode("latin-1")


def is_utf8(octets: bytes) -> bool:
    """Whether they are text in UTF-8."""
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True
