"""MAIL, RCPT and BDAT arguments, parsed strictly into values (RFC 5321 section 4.1.1)."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from filterrelay.errors import FilterRelayError
from filterrelay.mail.address import Address, BadAddress, parse_mailbox
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import Reply

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})+\Z")  # RFC 3461 section 4
_XTEXT_UTF8 = re.compile(r"(?:[\x21-\x3c\x3e-\x7e]|[^\x00-\x9f])+\Z")  # RFC 6533 section 3
_SIZE = re.compile(r"[0-9]{1,20}\Z")  # RFC 1870 section 3
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]+\Z")
_MAIL_PARAMETERS = frozenset(("SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"))
_MAIL_AND_REQUIRETLS = _MAIL_PARAMETERS | {"REQUIRETLS"}
_RCPT_PARAMETERS = frozenset(("NOTIFY", "ORCPT"))
_FLAGS = frozenset(("SMTPUTF8", "REQUIRETLS"))
_NOTIFY = ("SUCCESS", "FAILURE", "DELAY")

MAX_ENVID = 100  # RFC 3461 section 4.4
MAX_ORCPT = 500  # RFC 3461 section 4.2
MAX_AUTH = 500  # RFC 4954 section 3

MAIL_SYNTAX = Reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]")
RCPT_SYNTAX = Reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]")
NO_ROUTES = "source routes are not taken; send to the last address in it"


@dataclass
class BadArgument(FilterRelayError):
    """The command's argument is not one that can be taken."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Offer:
    """What EHLO offered this client. esmtp: it said EHLO, so it may use parameters."""

    esmtp: bool
    requiretls: bool
    max_octets: int


_ANYTHING = Offer(esmtp=True, requiretls=True, max_octets=sys.maxsize)


def parse_mail(argument: str, offer: Offer) -> Envelope:
    """The envelope that `FROM:<…> …` begins. Raises BadArgument."""
    path, rest = _path(argument, "FROM:", MAIL_SYNTAX)
    known = _MAIL_AND_REQUIRETLS if offer.requiretls else _MAIL_PARAMETERS
    parameters = _parameters(rest, offer.esmtp, known)
    utf8 = "SMTPUTF8" in parameters
    try:
        sender = parse_mailbox(_target(path), utf8=utf8) if path else None
    except BadAddress as error:
        raise BadArgument(_bad_address("5.1.7", path, utf8, error)) from None
    if sender is not None and not sender.domain:
        raise BadArgument(Reply(553, "5.1.7", "Sender: the address has no @"))
    return _envelope(sender, parameters, offer)


def _envelope(sender: Address | None, parameters: dict[str, str], offer: Offer) -> Envelope:
    return Envelope(
        sender,
        body=_one_of(parameters, "BODY", "7BIT", "8BITMIME") or "7BIT",
        smtputf8="SMTPUTF8" in parameters,
        requiretls="REQUIRETLS" in parameters,
        ret=_one_of(parameters, "RET", "FULL", "HDRS"),
        envid=_checked(parameters, "ENVID", _XTEXT, MAX_ENVID),
        auth=_auth(parameters),
        size=_size(parameters, offer),
    )


def parse_rcpt(argument: str, offer: Offer, *, utf8: bool) -> Recipient:
    """The recipient that `TO:<…> …` names. Raises BadArgument."""
    path, rest = _path(argument, "TO:", RCPT_SYNTAX)
    parameters = _parameters(rest, offer.esmtp, _RCPT_PARAMETERS)
    try:
        address = parse_mailbox(_target(path), utf8=utf8)
    except BadAddress as error:
        raise BadArgument(_bad_address("5.1.3", path, utf8, error)) from None
    return _recipient(address, parameters, utf8=utf8)


def _recipient(address: Address, parameters: dict[str, str], *, utf8: bool) -> Recipient:
    return Recipient(address, _notify(parameters), _orcpt(parameters, utf8=utf8))


def taken_mail(path: str, words: Sequence[str]) -> Envelope:
    """The envelope that a mail server has begun for its client; path: without brackets.

    What it took isn't refused here: parameters that we can't read are left out.
    """
    sender = taken_address(path) if path else None
    if not words:
        return Envelope(sender)

    def envelope(parameters: dict[str, str]) -> Envelope:
        return _envelope(sender, parameters, _ANYTHING)

    return envelope(_readable(words, _MAIL_AND_REQUIRETLS, envelope))


def taken_rcpt(path: str, words: Sequence[str]) -> Recipient:
    """The recipient that a mail server has taken from its client; see taken_mail."""
    address = taken_address(path)
    if not words:
        return Recipient(address)

    def recipient(parameters: dict[str, str]) -> Recipient:
        return _recipient(address, parameters, utf8=True)

    return recipient(_readable(words, _RCPT_PARAMETERS, recipient))


def taken_address(path: str) -> Address:
    """Whatever a mail server took for an address, without its route (RFC 5321 appendix C).

    It may lack a domain, since servers complete one, or break a rule of parse_mailbox.
    """
    if path.startswith("@"):
        path = path.partition(":")[2] or path
    local, at, domain = path.rpartition("@")
    return Address(local, domain) if at else Address(path, "")


def _readable(
    words: Iterable[str], known: frozenset[str], read: Callable[[dict[str, str]], object]
) -> dict[str, str]:
    """Those of the parameters that can be read, the first of each name."""
    good: dict[str, str] = {}
    for word in words:
        with suppress(BadArgument):
            one = _parameters(word, True, known)
            read(one)
            good = one | good
    return good


def parse_chunk(argument: str) -> tuple[int, bool] | None:
    """A chunk's octets, and whether it is the last (RFC 3030 section 2); None if neither."""
    words = argument.split()
    if not argument.isascii() or not 1 <= len(words) <= 2 or not _SIZE.match(words[0]):
        return None
    if len(words) == 2 and words[1].upper() != "LAST":
        return None
    return int(words[0]), len(words) == 2


def _bad_address(code: str, path: str, utf8: bool, error: BadAddress) -> Reply:
    side = "Sender" if code == "5.1.7" else "Recipient"
    if not utf8 and not path.isascii():
        code = "5.6.7"  # RFC 6531 section 3.5
    return Reply(553, code, f"{side}: {error}")


def _path(argument: str, keyword: str, syntax: Reply) -> tuple[str, str]:
    """What stands within the angle brackets, and what follows them.

    A blank behind the colon is no error here: too many clients write one.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise BadArgument(syntax)
    path = argument[len(keyword) :].lstrip(" ")
    end = path.find(">") if '"' not in path else _closing_bracket(path)
    if not path.startswith("<") or end < 0:
        raise BadArgument(syntax)
    rest = path[end + 1 :]
    if rest and not rest.startswith(" "):
        raise BadArgument(syntax)
    return path[1:end], rest


def _closing_bracket(path: str) -> int:
    """Where the first `>` outside of quotes stands, or -1."""
    quoted = escaped = False
    for index, letter in enumerate(path):
        if escaped:
            escaped = False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == ">" and not quoted:
            return index
    return -1


def _target(path: str) -> str:
    """The path, which must be a mailbox: RFC 5321 appendix C lets a server decline routes."""
    if path.startswith("@"):
        raise BadAddress(path, NO_ROUTES)
    return path


def _parameters(rest: str, esmtp: bool, known: frozenset[str]) -> dict[str, str]:
    """The parameters by their name in capitals; one without `=` has an empty value."""
    parsed: dict[str, str] = {}
    for word in rest.split(" ") if rest else ():
        if not word:
            continue
        name, equals, value = word.partition("=")
        name = name.upper() if name.isascii() else name  # "ſ" is "S" in capitals
        if name not in known or not esmtp:
            shown = name[:40] if _KEYWORD.match(name) else "That"
            raise BadArgument(Reply(555, "5.5.4", f"{shown}: parameter not offered here"))
        if name in parsed:
            raise BadArgument(Reply(501, "5.5.4", f"{name}: said twice"))
        if bool(equals) is (name in _FLAGS):
            wanted = "takes no value" if equals else "needs a value"
            raise BadArgument(Reply(501, "5.5.4", f"{name}: {wanted}"))
        parsed[name] = value
    return parsed


def _checked(parameters: dict[str, str], name: str, good: re.Pattern[str], most: int) -> str:
    """The parameter's value as it came, or empty when it wasn't said."""
    value = parameters.get(name)
    if value is None:
        return ""
    if len(value) > most or not good.match(value):
        raise BadArgument(Reply(501, "5.5.4", f"{name}: not a valid value"))
    return value


def _one_of(parameters: dict[str, str], name: str, *choices: str) -> str:
    """The parameter's value in capitals, or empty when it wasn't said."""
    value = parameters.get(name)
    if value is None:
        return ""
    if not value.isascii() or value.upper() not in choices:
        raise BadArgument(Reply(501, "5.5.4", f"{name}: one of {', '.join(choices)}"))
    return value.upper()


def _size(parameters: dict[str, str], offer: Offer) -> int | None:
    text = _checked(parameters, "SIZE", _SIZE, 20)
    if not text:
        return None
    if int(text) > offer.max_octets:
        limit = f"The message is larger than the limit of {offer.max_octets} octets"
        raise BadArgument(Reply(552, "5.3.4", limit))
    return int(text)


def _auth(parameters: dict[str, str]) -> str:
    """Who the client says submitted it first (RFC 4954 section 5), in xtext or `<>`."""
    if parameters.get("AUTH") == "<>":
        return "<>"
    return _checked(parameters, "AUTH", _XTEXT, MAX_AUTH)


def _notify(parameters: dict[str, str]) -> tuple[str, ...]:
    """When to report (RFC 3461 section 4.1): NEVER alone, or any of the others."""
    value = parameters.get("NOTIFY")
    if value is None:
        return ()
    wishes = tuple(value.upper().split(",")) if value.isascii() else ("",)
    if wishes != ("NEVER",) and not all(wish in _NOTIFY for wish in wishes):
        raise BadArgument(Reply(501, "5.5.4", "NOTIFY: NEVER, or some of SUCCESS,FAILURE,DELAY"))
    return tuple(dict.fromkeys(wishes))


def _orcpt(parameters: dict[str, str], *, utf8: bool) -> str:
    """The address first asked for (RFC 3461 section 4.2, RFC 6533 section 3)."""
    value = parameters.get("ORCPT")
    if value is None:
        return ""
    kind, semicolon, address = value.partition(";")
    good = semicolon and _ADDRESS_TYPE.match(kind) and len(value) <= MAX_ORCPT
    if not good or not (_XTEXT_UTF8 if utf8 else _XTEXT).match(address):
        raise BadArgument(Reply(501, "5.5.4", "ORCPT: not a valid value"))
    return value
