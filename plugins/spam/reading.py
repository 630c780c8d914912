"""What the rules and the classifier read of a message: bounded, decoded, taken apart once."""

import html as entities
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from filterrelay.mail.words import decode_words
from filterrelay.plugin import Message, Part

MAX_WORDS = 500  # of the text, all parts together
MAX_TEXT_PARTS = 8
MAX_TEXT = 32 * 1024  # octets read of each of them
MAX_FIELD = 1000  # characters read of a header field
MAX_LINKS = 50

# All patterns pass over their input once, whatever it holds: an unended comment runs to the end.
_UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(style|script|title)\b.*?(?:</\1[^<>]{0,20}>?|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_TAG = re.compile(r"<[^<>]*>")
# Chinese, Japanese and Korean (three octets a character) know no blanks: two characters a word.
_WORD = re.compile(
    rb"[a-z0-9$\x80-\xe2\xee-\xff][a-z0-9$'\x80-\xe2\xee-\xff]*"
    rb"(?:[-.][a-z0-9$\x80-\xe2\xee-\xff]+)*"
    rb"|(?:[\xe3-\xed][\x80-\xbf]{2}){1,2}"
)
_HTML = re.compile(r"\s*<(?:!doctype|html)\b", re.IGNORECASE)
_LINK = re.compile(r"https?://([^\s\"'<>()\[\]]{1,200})")
_LIST_TAG = re.compile(r"\s*(?:(?:re|fwd?|aw|wg)\s*:\s*)*\[[^\]]{1,40}\]\s*", re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s<>@,;:\"]{0,64}@([\w.-]{1,255})")


@dataclass(frozen=True)
class Reading:
    """A message as the rules and the classifier see it.

    subject: decoded, as written. sender: the From field decoded. plain, markup:
    the beginnings of its text and HTML parts, as written; visible: the text
    that a reader of the HTML sees. parts: all leaves, attachments too.
    """

    message: Message
    now: datetime
    subject: str
    sender: str
    plain: str
    markup: str
    visible: str
    parts: tuple[Part, ...]

    @cached_property
    def words(self) -> tuple[bytes, ...]:
        """The first words of the text in order, in small letters and UTF-8."""
        if not self.plain or not self.visible:
            return split_words(self.plain or self.visible, MAX_WORDS)
        seen = split_words(self.visible, MAX_WORDS // 2)
        return seen + split_words(self.plain, MAX_WORDS - len(seen))

    @cached_property
    def small_markup(self) -> str:
        """The HTML in small letters."""
        return self.markup.lower()

    @cached_property
    def vocabulary(self) -> frozenset[bytes]:
        """The different words of subject and text."""
        return frozenset(self.words).union(self.subject_words)

    @cached_property
    def phrases(self) -> bytes:
        """Subject and text as words between single blanks, to look for phrases in."""
        return b" ".join((b"", *self.subject_words, b"|", *self.words, b""))

    @cached_property
    def subject_words(self) -> tuple[bytes, ...]:
        """The subject's words; the tag of a list or another filter in brackets is left out."""
        return split_words(_LIST_TAG.sub("", self.subject, count=1), 50)

    @cached_property
    def links(self) -> tuple[str, ...]:
        """What follows http:// in its links, in small letters, up to a blank or quote."""
        found: dict[str, None] = {}
        for source in (self.markup, self.plain):
            for link in _LINK.finditer(source):
                found[link[1].lower()] = None
                if len(found) >= MAX_LINKS:
                    break
        return tuple(found)

    @cached_property
    def hosts(self) -> frozenset[str]:
        """The hosts of its links, without user and port."""
        return frozenset(host_of(link) for link in self.links)


def read(message: Message, now: datetime) -> Reading:
    """The reading of a message that came now: as much of it as the limits allow."""
    plain: list[str] = []
    markup: list[str] = []
    parts = message.parts
    texts = 0
    for part in parts:
        if part.is_text and texts < MAX_TEXT_PARTS:
            texts += 1
            text = part.beginning(MAX_TEXT)
            html = part.content_type == "text/html" or _HTML.match(text)
            (markup if html else plain).append(text)
    written = "\n".join(markup)
    return Reading(
        message=message,
        now=now,
        subject=field(message, "subject"),
        sender=field(message, "from"),
        plain="\n".join(plain),
        markup=written,
        visible=visible_text(written),
        parts=parts,
    )


def field(message: Message, name: str) -> str:
    """A header field's first value, decoded, at most MAX_FIELD characters of it."""
    return decode_words(message.get(name)[:MAX_FIELD])


def domain_of(address: str) -> str:
    """The domain of the first address in a field, in small letters, or empty."""
    matched = _ADDRESS.search(address)
    return matched[1].lower().strip(".") if matched else ""


def host_of(link: str) -> str:
    """The host of what follows http:// in a link."""
    authority = link.partition("/")[0].partition("?")[0]
    return authority.rpartition("@")[2].partition(":")[0].strip(".")


def visible_text(markup: str) -> str:
    """HTML without tags, comments, styles and scripts, its entities read."""
    if not markup:
        return ""
    text = _TAG.sub(" ", _UNSEEN.sub("", markup))
    return entities.unescape(text.replace("&nbsp;", " ")) if "&" in text else text


def split_words(text: str, most: int) -> tuple[bytes, ...]:
    """The first words, in small letters and UTF-8."""
    octets = text[: most * 40].lower().encode("utf-8", "replace")
    return tuple(_WORD.findall(octets)[:most])
