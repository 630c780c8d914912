"""Header values with parameters, as Content-Type and Content-Disposition have them.

Mail programs differ over values that aren't written as RFC 2045 section 5.1
says. A filter must know what any of them would read, so a parameter may have
several readings here. Everything passes over its input once.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from filterrelay.mail.words import as_text, decode_words

MAX_VALUE = 16 * 1024  # characters of a value that are read
MAX_PARAMETERS = 64  # of one value

_GAP = r"\s*+(?:\([^()]*+\)\s*+)*"  # blanks and comments
_NAME = re.compile(rf'(?<![^\s;,()"])([^\s;,()"=]++){_GAP}=')
_QUOTED = re.compile(rf'{_GAP}"([^"\\]*+(?:\\.[^"\\]*+)*)("?)', re.DOTALL)
_TOKEN = re.compile(rf"{_GAP}([^\s;()]*+)")
_BEHIND_QUOTED = re.compile(r'[^\s;"=]+')
_TYPE = re.compile(r"(?<![\w.+-])([\w.+-]++)\s*+/\s*+([\w.+*-]++)")
_WORD = re.compile(r"[\w-]+")
_MAX_HEAD = 512  # characters before the parameters
_MAX_DIGITS = 4  # of a section's number


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as it stands there.

    name: lower case, without what RFC 2231 adds to it. section: its number in a
    value of several sections, or None. extended: whether a charset and percent
    signs are to be decoded. readings: what it may say, the likeliest first.
    """

    name: str
    section: int | None
    extended: bool
    readings: tuple[str, ...]


def parameters(value: str) -> tuple[Parameter, ...]:
    """All parameters in order. value: octets read as Latin-1; beyond limits it isn't read."""
    if "=" not in value:
        return ()
    return tuple(_parameters(value[:MAX_VALUE]))


def _parameters(value: str) -> Iterator[Parameter]:
    at = 0
    for _ in range(MAX_PARAMETERS):
        named = _NAME.search(value, at)
        if named is None:
            return
        readings, at = _value_readings(value, named.end())
        name, star, rest = named[1].lower().partition("*")
        number = rest.removesuffix("*")
        section = number.isdecimal() and len(number) <= _MAX_DIGITS
        extended = bool(star) and (rest.endswith("*") or not rest)
        yield Parameter(name, int(number) if section else None, extended, readings or ("",))


def _value_readings(value: str, start: int) -> tuple[tuple[str, ...], int]:
    """What the value behind the `=` may be, and where to read on."""
    quoted = _QUOTED.match(value, start)
    if quoted is None:
        token = _TOKEN.match(value, start)
        assert token is not None  # it matches the empty text, too
        end = value.find(";", start)
        whole = value[start : end if end >= 0 else len(value)].strip()
        readings = (token[1], whole) if "=" in whole else (whole, token[1])
        return _different(readings), token.end()
    text = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if "\\" in quoted[1] else quoted[1]
    if not quoted[2]:  # the quote never ends: it may mean all the rest, or up to a semicolon
        first = quoted[1].partition(";")[0]
        return _different((text, first.strip())), quoted.start(1) + len(first)
    behind = _BEHIND_QUOTED.match(value, quoted.end())
    return _different((text, text + behind[0]) if behind else (text,)), quoted.end()


def parameter(value: str, name: str) -> str:
    """The likeliest reading of one parameter, decoded, or empty."""
    return next(iter(values_of(parameters(value), name)), "")


def token_of(found: Sequence[Parameter], name: str) -> str:
    """A parameter that is no text for people, without what is wrong behind it, or empty."""
    values = values_of(found, name)
    return values[0].split()[0] if values and values[0].strip() else ""


def values_of(found: Sequence[Parameter], name: str) -> tuple[str, ...]:
    """All readings of a parameter, decoded: RFC 2231's first, then the plain ones.

    RFC 2047 words, which are wrong here but usual, are decoded, too.
    """
    own = [one for one in found if one.name == name]
    if not own:
        return ()
    whole = [one for one in own if one.section is None]
    values = [_extended(text) for one in whole if one.extended for text in one.readings]
    values += _sectioned([one for one in own if one.section is not None])
    plain = (text for one in whole if not one.extended for text in one.readings)
    values += [decode_words(_as_written(text)) for text in plain]
    return _different(values)


def _sectioned(sections: list[Parameter]) -> list[str]:
    """The readings of RFC 2231 continuations: numbers may be missing or given twice."""
    if not sections:
        return []
    ordered = sorted(sections, key=lambda one: one.section or 0)
    first = {one.section: one for one in reversed(ordered)}
    last = {one.section: one for one in ordered}
    readings = [ordered]
    for chosen in (first, last):
        gap = next(n for n in range(len(chosen) + 1) if n not in chosen)
        readings.append([chosen[n] for n in range(gap)])
    return [_joined(reading) for reading in readings if reading]


def _joined(sections: list[Parameter]) -> str:
    text = "".join(
        one.readings[0] if one.extended else one.readings[0].replace("%", "%25") for one in sections
    )
    if any(one.extended for one in sections):
        return _extended(text)
    return decode_words(_as_written(text.replace("%25", "%")))


def _extended(text: str) -> str:
    """An RFC 2231 value: charset'language'percent-encoded octets."""
    charset, quote, rest = text.partition("'")
    _, second, encoded = rest.partition("'")
    if not (quote and second):
        charset, encoded = "", text
    return as_text(unquote_to_bytes(encoded.encode("latin-1", "replace")), charset or "utf-8")


def _as_written(text: str) -> str:
    """Text of octets read as Latin-1, which may be UTF-8 (RFC 6532)."""
    return text if text.isascii() else as_text(text.encode("latin-1", "replace"), "utf-8")


def _different(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def media_type(value: str) -> str:
    """The type and subtype, in lower case; `text/plain` when there is none (RFC 2045 5.2)."""
    head = _head(value)
    matched = _TYPE.search(head)
    return f"{matched[1]}/{matched[2]}".lower() if matched else "text/plain"


def first_word(value: str) -> str:
    """The first word in lower case: a transfer encoding or a disposition."""
    matched = _WORD.search(_head(value))
    return matched[0].lower() if matched else ""


def _head(value: str) -> str:
    """What stands before the parameters, without comments (RFC 822 section 3.4.3)."""
    head = value[:_MAX_HEAD]
    if "(" not in head:
        return head.partition(";")[0]
    kept: list[str] = []
    depth = 0
    for character in head:
        if character == "(":
            depth += 1
        elif character == ")":
            depth = max(0, depth - 1)
        elif not depth:
            kept.append(character)
    return "".join(kept).partition(";")[0]
