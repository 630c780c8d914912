"""Reports as programs of others read them: flufl.bounce, and Python's parser at its strictest.

flufl.bounce is what Mailman knows bounces by; it has never seen ours.
"""

from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from flufl.bounce import all_failures
from hypothesis import given, settings
from hypothesis import strategies as st

from filterrelay.delivery.report import Action, Reports, Told
from filterrelay.mail.address import parse_mailbox
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.message import is_clean
from filterrelay.mail.reply import Reply
from filterrelay.plugin.testing import SOME_TIME, FakeClock
from filterrelay.spool.store import StoredMessage

from .hop import BODY, a_stored_message

LANGUAGES = ("en", "ru")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
# What flufl.bounce doesn't split a field at: its reading of `rfc822; a=b@x` is `a`.
LOCALS = st.text(LETTERS + "!#$%&'*+-/?^_`{|}~", min_size=1, max_size=64)
DOMAINS = st.lists(st.text(LETTERS, min_size=1, max_size=20), min_size=1, max_size=4).map(".".join)
ADDRESSES = st.builds("{}@{}".format, LOCALS, DOMAINS)
UTF8_LOCALS = st.text(st.characters(categories=["Ll", "Lo"]), min_size=1, max_size=12)
UTF8_ADDRESSES = st.builds("{}@{}".format, UTF8_LOCALS, DOMAINS)
WORDS = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(["\r\n", "--=_", "\r\n\r\n", "Action: delivered", "é", "x" * 600, ";", "="])
    ).map("".join),
)
REPLIES = st.builds(
    Reply,
    st.sampled_from([421, 450, 451, 500, 550, 554]),
    st.sampled_from(["", "5.1.1", "4.2.2", "5.7.26", "5.999.999"]),
    WORDS,
)
SUBJECTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=100)


async def report_on(
    message: StoredMessage,
    action: Action,
    replies: Sequence[Reply],
    *,
    body: bytes = BODY,
    language: str = "en",
) -> bytes:
    """The report as it goes into the spool."""
    sent: list[bytes] = []

    async def submit(envelope: Envelope, raw: bytes, about: str) -> str:
        sent.append(raw)
        return about

    reports = Reports("relay.office.example", submit, FakeClock(), language=language)
    told = [
        Told(stored.recipient, reply, "mx.partner.example:25")
        for stored, reply in zip(message.recipients, replies, strict=True)
    ]
    until = SOME_TIME if action is Action.DELAYED else None
    assert await reports.send(action, message, told, body, until=until)
    return sent[0]


def flufl_finds(raw: bytes) -> tuple[set[str], set[str]]:
    """The addresses that are late, and those that have failed."""
    late, failed = all_failures(message_from_bytes(raw))
    return {address.decode() for address in late}, {address.decode() for address in failed}


def strictly(raw: bytes) -> EmailMessage:
    """The report as Python reads it; whatever it finds wrong is raised."""
    return message_from_bytes(raw, EmailMessage, policy=policy.SMTP.clone(raise_on_defect=True))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("action", "late", "failed"),
    [
        (Action.FAILED, False, True),
        (Action.DELAYED, True, False),
        (Action.RELAYED, False, False),
        (Action.DELIVERED, False, False),
    ],
)
@pytest.mark.parametrize("ret", ["HDRS", "FULL"])
async def test_flufl_bounce_knows_each_kind(
    action: Action, late: bool, failed: bool, language: str, ret: str
) -> None:
    """Failures are permanent, delays temporary, and success is no bounce."""
    to = {"bob@partner.example", "eve@partner.example"}
    message = a_stored_message("ID", *to, notify=("FAILURE", "DELAY", "SUCCESS"), ret=ret)
    replies = [Reply(550, "5.1.1", "No such user"), Reply(450, "", "Later")]
    raw = await report_on(message, action, replies, language=language)
    assert flufl_finds(raw) == (to if late else set(), to if failed else set())


@settings(max_examples=40, deadline=None)
@given(
    sender=ADDRESSES,
    fates=st.dictionaries(ADDRESSES, REPLIES, min_size=1, max_size=4),
    action=st.sampled_from([Action.FAILED, Action.DELAYED]),
    subject=SUBJECTS,
    language=st.sampled_from(LANGUAGES),
    full=st.booleans(),
)
async def test_no_address_reply_or_subject_misleads_a_parser(
    sender: str,
    fates: dict[str, Reply],
    action: Action,
    subject: str,
    language: str,
    full: bool,
) -> None:
    """Whatever the far side says, the report names exactly those whom it is about."""
    message = a_stored_message("ID", *fates, sender=sender, ret="FULL" if full else "HDRS")
    body = b"Subject: " + subject.encode() + b"\r\n\r\nHello.\r\n"
    raw = await report_on(message, action, list(fates.values()), body=body, language=language)
    late, failed = flufl_finds(raw)
    assert (failed if action is Action.FAILED else late) == set(fates)
    assert not (late if action is Action.FAILED else failed)
    report = strictly(raw)
    assert [each.addr_spec for each in report["To"].addresses] == [sender]
    assert len(list(report.iter_parts())) == 3
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert is_clean(raw)


@settings(max_examples=25, deadline=None)
@given(sender=st.one_of(ADDRESSES, UTF8_ADDRESSES), to=UTF8_ADDRESSES, reply=REPLIES)
async def test_addresses_beyond_ascii_come_back_as_they_were(
    sender: str, to: str, reply: Reply
) -> None:
    """In either form (RFC 6533 section 3). flufl.bounce knows no other type than rfc822."""
    parse_mailbox(sender, utf8=True)
    raw = await report_on(a_stored_message("ID", to, sender=sender), Action.FAILED, [reply])
    strictly(raw)
    (line,) = [line for line in raw.split(b"\r\n") if line.startswith(b"Final-Recipient: ")]
    kind, _, text = line.removeprefix(b"Final-Recipient: ").decode().partition("; ")
    assert kind == "rfc822" if to.isascii() else kind == "utf-8"
    assert text == to or (sender.isascii() and unquoted(text) == to)


def unquoted(text: str) -> str:
    """What utf-8-addr-xtext stands for, written down from RFC 6533 section 3."""
    pieces = text.split(r"\x{")
    decoded = [
        chr(int(code, 16)) + rest for code, _, rest in (p.partition("}") for p in pieces[1:])
    ]
    return "".join([pieces[0], *decoded])
