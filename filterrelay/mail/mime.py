"""MIME parts read from raw bytes, with limits that a hostile message can't pass.

The standard library's parser reads line by line, has no limits and recurses; a
filter at the door can afford none of the three, so the tree is cut here by
looking for boundary lines, and its leaves are decoded when first asked for.
"""

import binascii
import codecs
import quopri
import re
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message as Fields
from encodings.aliases import aliases
from functools import cached_property

MAX_DEPTH = 20  # nested multiparts; real mail stays below 8
MAX_PARTS = 500  # leaves
MAX_DECODED = 64 * 1024 * 1024  # bytes of one part
MAX_WORDS = 16 * 1024  # characters of a header value whose encoded words are decoded

_UNFOLD = re.compile(rb"\r\n(?=[ \t])")
_TYPE = re.compile(r"\s*([\w.+-]+/[\w.+*-]+)")
_PLAIN_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]+)')
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")

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


@dataclass(frozen=True)
class Part:
    """One leaf of the MIME tree.

    content_type: lower case, without parameters. filename: as declared, decoded,
    or empty. disposition: `attachment`, `inline` or empty. depth: 0 when the
    message is no multipart. broken: what is wrong with it, or empty.
    """

    content_type: str
    filename: str
    disposition: str
    charset: str
    encoding: str
    depth: int
    encoded: bytes = field(repr=False)
    broken: str = ""

    @cached_property
    def content(self) -> bytes:
        """The decoded bytes, at most MAX_DECODED of them."""
        encoded = self.encoded[: MAX_DECODED * 2]
        if self.encoding == "base64":
            return _lenient_base64(encoded)[:MAX_DECODED]
        if self.encoding == "quoted-printable":
            return quopri.decodestring(encoded)[:MAX_DECODED]
        return encoded[:MAX_DECODED]

    @cached_property
    def text(self) -> str:
        """The content as text by its charset, else as UTF-8, else as Latin-1."""
        return _as_text(self.content, self.charset, final=True)

    def beginning(self, octets: int) -> str:
        """The text of about the first so many octets, without decoding the rest."""
        if self.encoding == "base64":
            encoded = self.encoded[: octets * 3 // 2].translate(None, b"\r\n \t")
            content = _lenient_base64(encoded[: len(encoded) // 4 * 4])
        elif self.encoding == "quoted-printable":
            content = quopri.decodestring(self.encoded[:octets])
        else:
            content = self.encoded[:octets]
        return _as_text(content, self.charset, final=len(content) < octets)

    @property
    def is_text(self) -> bool:
        """Whether it is text for reading rather than an attachment."""
        return self.content_type.startswith("text/") and self.disposition != "attachment"


def parse_parts(raw: bytes) -> tuple[Part, ...]:
    """The leaves in order; beyond a limit the rest is one leaf that says so in `broken`."""
    leaves: list[Part] = []
    todo = [(0, len(raw), 0)]
    while todo:
        start, end, depth = todo.pop()
        if len(leaves) >= MAX_PARTS:
            leaves.append(_leaf({}, raw, start, end, depth, "too many parts"))
            break
        fields, body = _entity_fields(raw, start, end)
        kind = fields.get("content-type", "")
        lowered = kind.lower().lstrip()
        if depth >= MAX_DEPTH and lowered.startswith(("multipart/", "message/rfc822")):
            leaves.append(_leaf(fields, raw, body, end, depth, "nested too deeply"))
        elif lowered.startswith("multipart/"):
            boundary = parameter(kind, "boundary")
            children = _children(raw, body, end, boundary) if boundary else []
            if children:
                todo.extend((s, e, depth + 1) for s, e in reversed(children))
            else:
                leaves.append(_leaf(fields, raw, body, end, depth, "multipart without parts"))
        elif lowered.startswith("message/rfc822") and not _is_encoded(fields):
            todo.append((body, end, depth + 1))
        else:
            leaves.append(_leaf(fields, raw, body, end, depth, ""))
    return tuple(leaves)


def _entity_fields(raw: bytes, start: int, end: int) -> tuple[dict[str, str], int]:
    """The `content-` fields of the entity in raw[start:end], and where its body begins."""
    if raw.startswith(b"\r\n", start):
        return {}, start + 2
    stop = raw.find(b"\r\n\r\n", start, end)
    head_end, body = (end, end) if stop < 0 else (stop + 2, stop + 4)
    fields: dict[str, str] = {}
    for line in _UNFOLD.sub(b"", raw[start:head_end]).split(b"\r\n"):
        if line[:8].lower() == b"content-":
            name, _, value = line.partition(b":")
            fields.setdefault(name.strip().decode("latin-1").lower(), value.decode("latin-1"))
    return fields, body


def _children(raw: bytes, start: int, end: int, boundary: str) -> list[tuple[int, int]]:
    """Where the parts between the delimiter lines stand (RFC 2046 section 5.1.1)."""
    mark = b"--" + boundary.encode("latin-1", "replace")
    children: list[tuple[int, int]] = []
    opened = -1
    at = start if raw.startswith(mark, start) else raw.find(b"\r\n" + mark, start, end)
    while at >= 0 and len(children) <= MAX_PARTS:
        line = at + 2 if raw.startswith(b"\r\n", at) else at
        after = line + len(mark)
        line_end = raw.find(b"\r\n", after, end)
        line_end = end if line_end < 0 else line_end
        rest = raw[after : min(line_end, after + 200)].strip()
        if rest in (b"", b"--"):
            if opened >= 0:
                children.append((opened, max(opened, at)))
            opened = min(line_end + 2, end)
            if rest:
                return children
            at = raw.find(b"\r\n" + mark, max(line_end, start), end)
        else:
            at = raw.find(b"\r\n" + mark, after, end)
    if 0 <= opened < end:
        children.append((opened, end))
    return children


def _is_encoded(fields: dict[str, str]) -> bool:
    encoding = fields.get("content-transfer-encoding", "").strip().lower()
    return encoding in ("base64", "quoted-printable")


def _leaf(
    fields: dict[str, str], raw: bytes, start: int, end: int, depth: int, broken: str
) -> Part:
    kind = fields.get("content-type", "")
    disposition = fields.get("content-disposition", "")
    matched = _TYPE.match(kind)
    return Part(
        content_type=matched.group(1).lower() if matched else "text/plain",
        filename=parameter(disposition, "filename") or parameter(kind, "name"),
        disposition=disposition.partition(";")[0].strip().lower(),
        charset=parameter(kind, "charset") or "utf-8",
        encoding=fields.get("content-transfer-encoding", "").strip().lower(),
        depth=depth,
        encoded=raw[start:end],
        broken=broken,
    )


def parameter(value: str, name: str) -> str:
    """One parameter of a Content-Type or Content-Disposition value, decoded, or empty.

    RFC 2231 continuations and character sets and RFC 2047 words, which are wrong
    here but usual, are decoded.
    """
    if name not in value.lower():
        return ""
    if "*" in value or "=?" in value:
        return _hard_parameter(value, name)
    for key, text in _PLAIN_PARAMETER.findall(value):
        if key.lower() == name:
            return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else str(text)
    return ""


def _hard_parameter(value: str, name: str) -> str:
    fields = Fields()
    fields["X"] = value
    found = fields.get_param(name, header="X", failobj="")
    if isinstance(found, tuple):
        charset, _, text = found
        try:
            return _as_text(text.encode("latin-1"), charset or "utf-8", final=True)
        except UnicodeError:
            return text
    return decode_words(found)


def decode_words(value: str) -> str:
    """A header value with its RFC 2047 encoded words decoded; broken ones stay as they are."""
    if "=?" not in value:
        return value
    if len(value) > MAX_WORDS:
        return decode_words(value[:MAX_WORDS]) + value[MAX_WORDS:]
    try:
        return "".join(
            _as_text(text, charset or "latin-1", final=True) if isinstance(text, bytes) else text
            for text, charset in decode_header(value)
        )
    except (HeaderParseError, ValueError):
        return value


def _as_text(content: bytes, charset: str, *, final: bool) -> str:
    """The text; when the content is cut off (not final), a broken last character is left out."""
    named = _CHARSETS.get(charset.lower().replace("-", "_"), "utf_8")
    for codec in (named, "utf_8"):
        try:
            return codecs.getincrementaldecoder(codec)().decode(content, final)
        except ValueError:
            continue
    return content.decode("latin-1")


def _lenient_base64(encoded: bytes) -> bytes:
    """What the base64 says, with foreign characters left out as mail programs do."""
    try:
        return binascii.a2b_base64(encoded)
    except binascii.Error:
        clean = _NOT_BASE64.sub(b"", encoded)
        return binascii.a2b_base64(clean[: len(clean) // 4 * 4])
