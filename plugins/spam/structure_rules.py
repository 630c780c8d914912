"""Rules on the MIME structure, the HTML and the links."""

import re

from filterrelay_plugins.spam.reading import Reading, domain_of, host_of
from filterrelay_plugins.spam.rule import Rule, listed

_EXECUTABLE = listed(
    """
    apk bat chm cmd com cpl exe hta img iso jar js jse lnk msi pif ps1 scr vbe vbs vhd wsf xll
    """
)
_DOCUMENT = listed("doc docx gif htm html jpeg jpg pdf png rtf txt xls xlsx zip")
_KNOWN_TAGS = "strong|small|center|table|tbody|thead|label|button|blockquote|strike|section|article"
# They read small letters: a pattern that ignores case searches ten times as long.
_SPLIT_WORD = re.compile(
    rf"<(?<=[a-z]<)(?:!--[^<>]{{0,80}}--|/?(?!(?:{_KNOWN_TAGS})>)[a-z]{{5,20}})>[a-z]"
)
_TINY = re.compile(r"font-size\s*:\s*[01](?:px|pt)?\s*[;\"']")
_BIG_FONT = re.compile(r"<font[^>]{0,80}\bsize\s*=\s*[\"']?(?:\+[2-9]|[5-9])")
_RED = re.compile(r"color\s*[=:]\s*[\"']?(?:#?ff0000|red)\b")
_CODED_SCRIPT = re.compile(r"(?:eval|document\.write)\s*\(\s*(?:unescape|atob|string\.from)")
_ANCHOR = re.compile(
    r"<a\s[^<>]{0,200}?href\s*=\s*[\"']?https?://([^\s\"'<>/]{1,100}+)[^<>]{0,1000}+>"
    r"\s{0,20}+(?:https?://|(?=www\.))([a-z0-9.-]{4,100})"
)
_REMOVE_LINK = re.compile(r"remove|unsub|opt-?out")
_SHORTENERS = listed(
    """
    bit.ly cutt.ly goo.gl is.gd ow.ly rb.gy rebrand.ly shorturl.at t.co t.ly tiny.cc tinyurl.com
    """
)


def html_alone(reading: Reading) -> bool:
    """There is HTML and no plain text beside it."""
    return bool(reading.markup) and not reading.plain


def html_one_link(reading: Reading) -> bool:
    """HTML alone that leads to one place, which isn't the sender's."""
    alone = bool(reading.markup) and not reading.plain
    return alone and len(reading.hosts) == 1 and not link_own(reading)


def base64_ascii(reading: Reading) -> bool:
    """A text that needs no encoding is hidden in base64."""
    return any(
        part.encoding == "base64" and part.is_text and part.beginning(1000).isascii()
        for part in reading.parts[:8]
    )


def split_words(reading: Reading) -> bool:
    """Comments or unknown tags stand inside words."""
    return len(_SPLIT_WORD.findall(reading.small_markup)) >= 3


def tiny_text(reading: Reading) -> bool:
    """Text that nobody can see."""
    return _TINY.search(reading.small_markup) is not None


def loud_text(reading: Reading) -> bool:
    """Big or red letters."""
    markup = reading.small_markup
    return "<font" in markup and bool(_BIG_FONT.search(markup) or _RED.search(markup))


def has_form(reading: Reading) -> bool:
    """A form to fill in."""
    return "<form" in reading.small_markup


def has_script(reading: Reading) -> bool:
    """A script or an embedded frame or object."""
    markup = reading.small_markup
    return "<script" in markup or "<iframe" in markup or "<object" in markup


def coded_script(reading: Reading) -> bool:
    """A script that hides what it writes."""
    return "<script" in reading.small_markup and bool(_CODED_SCRIPT.search(reading.small_markup))


def image_alone(reading: Reading) -> bool:
    """Pictures with hardly a word."""
    return "<img" in reading.small_markup and len(reading.words) < 50


def executable(reading: Reading) -> bool:
    """An attachment that runs when it is opened."""
    return any(
        part.filename.lower().rpartition(".")[2].strip() in _EXECUTABLE
        for part in reading.parts
        if part.filename
    )


def disguised_executable(reading: Reading) -> bool:
    """An attachment that looks like a document and runs."""
    for part in reading.parts:
        endings = part.filename.lower().rsplit(".", 2)[1:]
        if len(endings) == 2 and endings[1] in _EXECUTABLE and endings[0].strip() in _DOCUMENT:
            return True
    return False


def broken(reading: Reading) -> bool:
    """The MIME structure is damaged."""
    return any(part.broken for part in reading.parts)


def link_number(reading: Reading) -> bool:
    """A link to a host without a name."""
    return any(host.replace(".", "").isdigit() for host in reading.hosts)


def link_disguised(reading: Reading) -> bool:
    """A link that pretends another host in front of an @, or writes its host in codes."""
    for link in reading.links:
        authority = link.partition("/")[0].partition("?")[0]
        if "@" in authority or "%" in authority or authority.startswith("0x"):
            return True
    return False


def link_port(reading: Reading) -> bool:
    """A link to an unusual port."""
    for link in reading.links:
        port = link.partition("/")[0].partition(":")[2]
        if port.isdigit() and port not in ("80", "443", "8080", "8443"):
            return True
    return False


def link_foreign(reading: Reading) -> bool:
    """A link's text shows one host, and it leads to another."""
    anchors = _ANCHOR.findall(reading.small_markup)
    return any(_site(host_of(target)) != _site(shown) for target, shown in anchors)


def _site(host: str) -> list[str]:
    return host.strip(".").split(".")[-2:]


def link_punycode(reading: Reading) -> bool:
    """A link to a host name with letters that may look like others."""
    return any("xn--" in host or not host.isascii() for host in reading.hosts)


def link_short(reading: Reading) -> bool:
    """A link that hides where it leads."""
    return not _SHORTENERS.isdisjoint(reading.hosts)


def link_remove(reading: Reading) -> bool:
    """A link to be removed from a list."""
    return any(_REMOVE_LINK.search(link) for link in reading.links)


def link_own(reading: Reading) -> bool:
    """A link leads to the sender's own site."""
    own = _site(domain_of(reading.sender))
    return any(_site(host) == own for host in reading.hosts)


STRUCTURE_RULES = (
    Rule("HTML_ALONE", 0.4, "HTML without plain text beside it", html_alone),
    Rule("HTML_ONE_LINK", 1.0, "HTML alone that leads to one foreign place", html_one_link),
    Rule("BASE64_ASCII", 1.5, "Plain letters hidden in base64", base64_ascii),
    Rule("SPLIT_WORDS", 2.0, "Comments or unknown tags inside words", split_words),
    Rule("TINY_TEXT", 0.8, "Letters too small to see", tiny_text),
    Rule("LOUD_TEXT", 0.5, "Big or red letters", loud_text),
    Rule("FORM", 0.3, "A form to fill in", has_form),
    Rule("SCRIPT", 0.3, "A script, frame or object", has_script),
    Rule("CODED_SCRIPT", 2.5, "A script that hides what it writes", coded_script),
    Rule("IMAGE_ALONE", 1.8, "Pictures with hardly a word", image_alone),
    Rule("EXECUTABLE", 3.0, "An attachment that runs when opened", executable),
    Rule("DISGUISED_EXECUTABLE", 3.0, "A program named like a document", disguised_executable),
    Rule("BROKEN_MIME", 0.8, "A damaged MIME structure", broken),
    Rule("LINK_NUMBER", 2.0, "A link to a host without a name", link_number),
    Rule("LINK_DISGUISED", 2.5, "A link that disguises its host", link_disguised),
    Rule("LINK_PORT", 1.2, "A link to an unusual port", link_port),
    Rule("LINK_FOREIGN", 0.6, "A link that shows one host and leads to another", link_foreign),
    Rule("LINK_PUNYCODE", 1.0, "A link to a name of foreign letters", link_punycode),
    Rule("LINK_SHORT", 0.4, "A link that hides where it leads", link_short),
    Rule("LINK_OWN", -1.0, "A link to the sender's own site", link_own),
    Rule("LINK_REMOVE", 0.3, "A link to be removed from a list", link_remove),
)
