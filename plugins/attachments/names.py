"""What a file's name says, and what it tries to hide."""

import re
from collections.abc import Collection

# Endings that a mail client's user would run by opening the file: what Outlook
# and Gmail block, without those that are common in honest mail.
DANGEROUS = frozenset(
    {
        *("ade", "adp", "app", "appref-ms", "appx", "bas", "bat", "chm", "cmd", "com", "cpl"),
        *("diagcab", "dll", "exe", "gadget", "hlp", "hta", "img", "inf", "ins", "iso", "isp"),
        *("jar", "jnlp", "job", "js", "jse", "library-ms", "lnk", "mde", "msc", "msh", "msh1"),
        *("msh2", "mshxml", "msi", "msix", "msp", "mst", "nsh", "pif", "pl", "prg", "ps1"),
        *("ps1xml", "ps2", "psc1", "psc2", "psd1", "psm1", "reg", "scf", "scr", "sct"),
        *("search-ms", "settingcontent-ms", "shb", "shs", "sys", "theme", "udl", "url", "vb"),
        *("vbe", "vbs", "vhd", "vhdx", "vmdk", "vxd", "website", "wim", "wsc", "wsf", "wsh"),
        *("xbap", "xll", "xnk"),
    }
)
_DECOYS = frozenset(
    {
        *("avi", "bmp", "csv", "doc", "docx", "gif", "htm", "html", "jpeg", "jpg", "mov", "mp3"),
        *("mp4", "odt", "pdf", "png", "ppt", "pptx", "rtf", "tif", "tiff", "txt", "wav", "xls"),
        *("xlsx", "xml", "zip"),
    }
)
_TURNING = re.compile("[\u202d\u202e]")  # LRO and RLO; other direction marks have honest uses
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_CLASS_ID = re.compile(r"\.\{[0-9a-f-]{36}\}\Z")
_MESSAGES = frozenset({"eml", "mht", "mhtml", "nws"})
_MOST_SHOWN = 60  # characters of a name in a reply


def bare_name(name: str) -> str:
    """The name as a file system would take it: no path, nothing invisible, lower case.

    Windows drops blanks and dots at the end, and mail programs quotes.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return _INVISIBLE.sub("", last).rstrip(". \"'").lower()


def ending(bare: str) -> str:
    """What follows the last dot of a bare name."""
    return bare.rpartition(".")[2].strip() if "." in bare else ""


def disguise(name: str) -> str:
    """How the name hides what the file is, or empty."""
    if _TURNING.search(name):
        return "its name turns the direction of writing around"
    bare = bare_name(name)
    if _CLASS_ID.search(bare):
        return "its name ends in a Windows class ID"
    *front, last = (part.strip() for part in bare.split("."))
    decoys = [part for part in front[1:] if part in _DECOYS]
    if last in DANGEROUS and decoys:
        return f"it calls itself .{decoys[-1]} but is .{last}"
    return ""


def blocked_ending(name: str, blocked: Collection[str]) -> str:
    """The name's ending when it is one of those blocked, else empty."""
    last = ending(bare_name(name))
    return last if last in blocked else ""


def is_message_name(name: str) -> bool:
    """Whether a file of that name is opened as a message."""
    return ending(bare_name(name)) in _MESSAGES


def shown(name: str) -> str:
    """The name as it may stand in a reply: printable ASCII of limited length."""
    text = "".join(c if " " <= c <= "~" else "?" for c in name)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
