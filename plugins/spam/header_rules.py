"""Rules on the header section: who it says it is from, when, and what about."""

import re
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise

from filterrelay_plugins.spam.reading import Reading, domain_of, field
from filterrelay_plugins.spam.rule import Rule, listed

_FUTURE = timedelta(days=2)  # a clock may be wrong, a time zone forgotten
_LOCAL_PARTS = re.compile(r"([\w.+-]{2,64})@")
_SEVERAL = 4  # recipients that can be alike
_MESSAGE_ID = re.compile(r"<[^<>@\s]+@[^<>@\s]+>")
_NUMBERED = re.compile(r"[a-z]{0,12}[._]?[a-z]{0,12}\d{4,12}[a-z]{0,4}")
_OUTLOOK_ID = re.compile(r"<[0-9a-f]{12}\$[0-9a-f]{8}\$[0-9a-f]{8}@", re.IGNORECASE)
_ZONE = re.compile(r"[+-]\d{4}|[A-Z]{1,5}\s*\Z|\)\s*\Z")
_TRAIL = re.compile(r"\S(?:\s{5,}\S{2,25}|\s+\[?[a-z]*\d[a-z\d]{5,}\]?)\s*\Z")
_ADVERTISING = re.compile(r"\s*[\[(]?adv?\b[\])]?\s*[:.\]-]|\s*adv\b", re.IGNORECASE)
_MONEY = re.compile(r"[$€£]\s?\d|\d\s?[$€£]|[$]{2}")
_SHOUTED = re.compile(r"[!?]{2}|!\s*\Z")
_FREEMAIL = listed(
    """
    aol.com excite.com gmail.com gmx.de gmx.net googlemail.com hotmail.com icloud.com lycos.com
    mail.com mail.ru msn.com netscape.net outlook.com proton.me protonmail.com qq.com 163.com
    rediffmail.com web.de yahoo.com yahoo.co.uk yandex.ru
    """
)
# Providers whose own servers write the Message-ID, and what its domain ends in.
_ID_ENDINGS = {
    "aol.com": ("aol.com", "yahoo.com"),
    "gmail.com": ("gmail.com", "google.com"),
    "googlemail.com": ("gmail.com", "google.com", "googlemail.com"),
    "hotmail.com": ("hotmail.com", "outlook.com", "phx.gbl"),
    "msn.com": ("msn.com", "hotmail.com", "outlook.com", "phx.gbl"),
    "outlook.com": ("outlook.com", "hotmail.com"),
    "yahoo.com": ("yahoo.com",),
}


def from_missing(reading: Reading) -> bool:
    """There is no From field, or it names no address (RFC 5322 section 3.6.2)."""
    return not domain_of(reading.sender)


def from_twice(reading: Reading) -> bool:
    """A field that may stand once stands twice (RFC 5322 section 3.6)."""
    return any(len(reading.message.all(n)) > 1 for n in ("from", "subject", "date", "message-id"))


def from_disguised(reading: Reading) -> bool:
    """The display name is an address of another domain."""
    name, bracket, address = reading.sender.rpartition("<")
    if not bracket or "@" not in name:
        return False
    shown = domain_of(name)
    return bool(shown) and shown != domain_of(address)


def from_digits(reading: Reading) -> bool:
    """The sender's local part is a short name with a long number, as programs make them up."""
    local = reading.sender.rpartition("<")[2].partition("@")[0]
    return _NUMBERED.fullmatch(local.lower()) is not None


def reply_elsewhere(reading: Reading) -> bool:
    """Answers would go to a free mailbox of another domain."""
    reply = domain_of(field(reading.message, "reply-to"))
    return reply in _FREEMAIL and reply != domain_of(reading.sender)


def freemail_html(reading: Reading) -> bool:
    """HTML alone from a free mailbox, whose pages and programs always write text beside it."""
    return bool(reading.markup) and not reading.plain and domain_of(reading.sender) in _FREEMAIL


def freemail_pretended(reading: Reading) -> bool:
    """From a free mailbox, but with a Message-ID that its provider doesn't write."""
    endings = _ID_ENDINGS.get(domain_of(reading.sender))
    return endings is not None and not domain_of(reading.message.get("message-id")[:300]).endswith(
        endings
    )


def recipients_alike(reading: Reading) -> bool:
    """Sent to neighbours in a list of addresses, without a reason to know each other."""
    recipients = field(reading.message, "to") + "," + field(reading.message, "cc")
    if recipients.count("@") < _SEVERAL:
        return False
    begins: list[str] = [local[:2].lower() for local in _LOCAL_PARTS.findall(recipients)]
    alike = sum(one == other for one, other in pairwise(begins))
    return alike >= 0.6 * max(len(begins), _SEVERAL)


def no_recipient(reading: Reading) -> bool:
    """The To field is missing or names nobody."""
    to = field(reading.message, "to")
    return "@" not in to and "@" not in field(reading.message, "cc")


def date_missing(reading: Reading) -> bool:
    """There is no Date field (RFC 5322 section 3.6.1)."""
    return not reading.message.get("date")


def date_wrong(reading: Reading) -> bool:
    """The Date can't be read, or lies days in the future."""
    value = reading.message.get("date")[:100]
    if not value:
        return False
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)) > reading.now + _FUTURE
    except (ValueError, OverflowError):
        return True


def date_unzoned(reading: Reading) -> bool:
    """The Date names no time zone (RFC 5322 section 3.3)."""
    value = reading.message.get("date")[:100]
    return bool(value) and _ZONE.search(value) is None


def message_id_wrong(reading: Reading) -> bool:
    """The Message-ID is none (RFC 5322 section 3.6.4)."""
    value = reading.message.get("message-id")
    return bool(value) and not _MESSAGE_ID.match(value[:300])


def subject_capitals(reading: Reading) -> bool:
    """The subject shouts."""
    subject = reading.subject
    return subject.isupper() and sum(map(str.isupper, subject)) >= 8


def subject_shouted(reading: Reading) -> bool:
    """The subject ends with an exclamation mark or holds several."""
    return _SHOUTED.search(reading.subject) is not None


def subject_money(reading: Reading) -> bool:
    """The subject names a sum."""
    return _MONEY.search(reading.subject) is not None


def subject_trail(reading: Reading) -> bool:
    """The subject ends in characters that make each copy different."""
    return _TRAIL.search(reading.subject[-80:].lower()) is not None


def subject_advertising(reading: Reading) -> bool:
    """The subject admits it."""
    return _ADVERTISING.match(reading.subject) is not None


def subject_raw(reading: Reading) -> bool:
    """The subject holds raw octets of an undeclared charset (RFC 2047)."""
    fields = reading.message.all("subject")
    if not fields or fields[0].raw[:1000].isascii():
        return False
    try:
        fields[0].raw.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def is_reply(reading: Reading) -> bool:
    """It answers a message by its ID."""
    message = reading.message
    return bool(message.all("in-reply-to") or message.all("references"))


def outlook_id(reading: Reading) -> bool:
    """A Message-ID in Outlook's manner, by a program that isn't Outlook."""
    message = reading.message
    if not _OUTLOOK_ID.match(message.get("message-id")[:100]):
        return False
    return "outlook" not in (message.get("x-mailer") + message.get("x-mimeole")).lower()


def priority_alone(reading: Reading) -> bool:
    """A priority, which only programs for people set, and no name of a program."""
    message = reading.message
    return bool(message.all("x-priority")) and not (
        message.all("x-mailer") or message.all("user-agent")
    )


def sender_bare(reading: Reading) -> bool:
    """The sender's address in brackets without a name before it."""
    return reading.sender.lstrip().startswith("<")


def mime_misspelt(reading: Reading) -> bool:
    """The field MIME-Version is spelled as no mail program spells it."""
    return any(
        h.name not in ("MIME-Version", "Mime-Version", "mime-version", "MIME-VERSION")
        for h in reading.message.all("mime-version")
    )


def outlook_pretended(reading: Reading) -> bool:
    """It has a field of Microsoft's programs, but none of the others they write with it."""
    message = reading.message
    return bool(message.all("x-msmail-priority")) and not message.all("x-mimeole")


HEADER_RULES = (
    Rule("FROM_MISSING", 1.5, "No sender's address in From", from_missing),
    Rule("FIELD_TWICE", 1.5, "A header field stands twice that may stand once", from_twice),
    Rule("FROM_DISGUISED", 1.5, "The sender's name is somebody else's address", from_disguised),
    Rule("FROM_DIGITS", 0.8, "Many digits in the sender's address", from_digits),
    Rule("REPLY_ELSEWHERE", 1.5, "Answers go to a free mailbox elsewhere", reply_elsewhere),
    Rule("FREEMAIL_HTML", 1.5, "HTML alone from a free mailbox", freemail_html),
    Rule("FREEMAIL_PRETENDED", 1.2, "A free mailbox, but not its provider's", freemail_pretended),
    Rule("RECIPIENTS_ALIKE", 2.5, "Sent to neighbours in a list of addresses", recipients_alike),
    Rule("NO_RECIPIENT", 0.5, "Addressed to nobody in To or Cc", no_recipient),
    Rule("DATE_MISSING", 1.0, "No Date field", date_missing),
    Rule("DATE_WRONG", 1.2, "The Date is unreadable or days in the future", date_wrong),
    Rule("DATE_UNZONED", 1.5, "The Date names no time zone", date_unzoned),
    Rule("MESSAGE_ID_WRONG", 1.5, "The Message-ID isn't one", message_id_wrong),
    Rule("SUBJECT_CAPITALS", 1.2, "The subject is in capitals", subject_capitals),
    Rule("SUBJECT_SHOUTED", 0.6, "The subject has exclamation marks", subject_shouted),
    Rule("SUBJECT_MONEY", 0.8, "The subject names a sum of money", subject_money),
    Rule("SUBJECT_TRAIL", 2.5, "The subject ends in random characters", subject_trail),
    Rule("SUBJECT_ADVERTISING", 3.0, "The subject says it is advertising", subject_advertising),
    Rule("SUBJECT_RAW", 0.6, "The subject has octets of an unnamed charset", subject_raw),
    Rule("OUTLOOK_PRETENDED", 1.5, "Marked as by Outlook, but not by it", outlook_pretended),
    Rule("OUTLOOK_ID", 2.0, "A Message-ID as Outlook's, but not by it", outlook_id),
    Rule("PRIORITY_ALONE", 1.2, "A priority, but no program's name", priority_alone),
    Rule("SENDER_BARE", 0.5, "The sender has brackets, but no name", sender_bare),
    Rule("MIME_MISSPELT", 1.5, "MIME-Version is misspelled", mime_misspelt),
    Rule("REPLY", -1.0, "Answers a message", is_reply),
)
