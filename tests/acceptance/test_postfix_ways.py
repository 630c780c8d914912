"""The same mail through milter, proxy, content filter and smart host fares as at the smtp door.

Each way is a Postfix with the files of deploy/postfix/, and filterrelay behind it with
theirs; a third party's plugin does what each message orders. What arrives is compared with
what arrives through the smtp door without any Postfix, octet for octet but for:

- our own and Postfix's Received fields, which tell of the way;
- what is drawn anew for each message: a DKIM signature's time and value, and the Date and
  Message-ID of mail that came without;
- the empty line behind a header that nothing follows;
- X-Client, in which the plugin says who the client was (what each way knows of it is tested
  by itself). For the smart host that is Postfix, which it trusts, whatever others forge.
"""

import re
from pathlib import Path

import pytest

from tests.plugins.spam.corpus import archive

from .behind_postfix.mails import ANN, REAL, Mail, mails, real_mails, signed_mail
from .behind_postfix.play import Result, Results, mark, play
from .behind_postfix.ways import AFTER_QUEUE, DOOR, WAYS, Office
from .peers.certificates import DkimKey, make_dkim_key
from .peers.dkim_verifiers import dkimpy_accepts, opendkim_accepts

pytestmark = [pytest.mark.peer(name) for name in ("postfix", "dovecot", "opendkim")]

_OURS = re.compile(rb"by (?:relay\.office|mx\.provider)\.example")
_MISSED = re.compile(rb"(?mi)^(Date|Message-ID): [^\r\n]*")


@pytest.fixture(scope="module")
def strangers_key() -> DkimKey:
    """What somebody else signs with."""
    return make_dkim_key("else.example")


@pytest.fixture(scope="module")
def sent(strangers_key: DkimKey) -> dict[str, Mail]:
    """All that is sent, by name; without real mail where the corpus was not fetched."""
    real = real_mails() if archive().is_file() else []
    return {mail.name: mail for mail in (*mails(), signed_mail(strangers_key), *real)}


@pytest.fixture(scope="module")
def results(behind_postfix: Office, sent: dict[str, Mail]) -> Results:
    """What became of everything, every way."""
    return play(behind_postfix, list(sent.values()))


def _fields(head: bytes) -> list[bytes]:
    """The header's fields, each with its folds."""
    return re.split(rb"\r\n(?![ \t])", head)


def _without_drawn(signature: bytes) -> bytes:
    """A DKIM-Signature without its time and value (RFC 6376 section 3.5), unfolded."""
    tags = re.sub(rb"\s+", b"", signature).split(b";")
    return b";".join(tag for tag in tags if not tag.startswith((b"t=", b"b=")))


def _compared(message: bytes, way: str, mail: Mail) -> bytes:
    """What must be the same every way."""
    head, gap, body = message.replace(mark(way, mail).encode(), b"mark").partition(b"\r\n\r\n")
    kept = []
    for field in _fields(head):
        name = field.partition(b":")[0].lower()
        if name == b"received" and _OURS.search(field):
            continue
        if name == b"x-client":
            continue
        kept.append(_without_drawn(field) if name == b"dkim-signature" else field)
    head = b"\r\n".join(kept)
    head = head if mail.is_completed else _MISSED.sub(rb"\1: drawn", head)
    return head + gap + body if body else head.removesuffix(b"\r\n")


def _arrived(results: Results, way: str, mail: Mail) -> set[tuple[str, bytes]]:
    """Sender and content of what arrived; copies for some of the recipients are alike."""
    arrivals = results[way, mail.name].arrivals
    return {(one.sender, _compared(one.message, way, mail)) for one in arrivals}


def _unmarked(result: Result, way: str, mail: Mail) -> list[str]:
    return [recipient.replace(mark(way, mail), "mark") for recipient in result.recipients]


NAMES = (*(mail.name for mail in mails()), "signed", *REAL)
CASES = [(way, name) for way in WAYS for name in NAMES if (way, name) != ("smart-host", "forged")]


@pytest.mark.parametrize(("way", "name"), CASES)
def test_it_fares_as_at_the_smtp_door(
    way: str, name: str, sent: dict[str, Mail], results: Results
) -> None:
    """The same verdict, the same replies where the client hears of it, the same octets."""
    if name not in sent:
        pytest.skip(f"no corpus at {archive()}: run tests/plugins/spam/fetch-corpus")
    mail = sent[name]
    here, there = results[way, mail.name], results[DOOR, mail.name]
    assert here.verdicts == there.verdicts
    if way in AFTER_QUEUE:
        assert {reply[:3] for reply in here.replies} == {"250"}
    else:
        assert _heard(here) == _heard(there)
    assert _unmarked(here, way, mail) == _unmarked(there, DOOR, mail)
    assert _arrived(results, way, mail) == _arrived(results, DOOR, mail)


def _heard(result: Result) -> list[str]:
    """What the client was told, as far as that is ours.

    Postfix has statuses of its own for what was accepted, and asks a proxy about the sender
    together with the first recipient.
    """
    replies = ["250" if reply.startswith("250") else reply for reply in result.replies]
    return replies[1:] if replies[0] == "250" else replies


@pytest.mark.parametrize(
    ("name", "client"),
    [
        ("told", "127.0.0.1 {} client.office.example -"),
        ("login", f"127.0.0.1 {{}} client.office.example {ANN}"),
        ("xclient", "192.0.2.7 host.else.example client.office.example -"),
        ("xclient-ipv6", "2001:db8::7 {} client.office.example -"),
    ],
)
def test_filters_know_the_client(name: str, client: str, results: Results) -> None:
    """Not Postfix, but who spoke with it. Who logged in, Postfix tells a milter alone."""
    for way in (DOOR, "milter", "proxy", "content-filter"):
        (arrival,) = results[way, name].arrivals
        (said,) = re.findall(rb"\r\nX-Client: (.*)\r\n", arrival.message)
        known = client.format("-")
        if way not in (DOOR, "milter"):
            known = known.replace(ANN, "-")
        assert said.decode() == known, way


def test_what_is_set_aside_lies_where_its_reader_looks(
    behind_postfix: Office, results: Results
) -> None:
    """A milter's in Postfix's hold queue, of which Postfix's log says why; all others in ours."""
    assert results["milter", "order-quarantine"].arrivals == ()
    held = behind_postfix.postfixes["milter"]
    assert len([file for file in (held.directory / "queue/hold").rglob("*") if file.is_file()]) == 1
    assert "milter triggers HOLD action" in held.log()
    listed = behind_postfix.program.json_command("quarantine", "list")
    marks = {f"order-quarantine-by-{way}" for way in (DOOR, *WAYS) if way != "milter"}
    assert {
        entry["recipients"][0]["address"].split("@")[1].split(".")[0] for entry in listed
    } == marks


@pytest.mark.parametrize("way", AFTER_QUEUE)
def test_behind_the_queue_a_rejected_message_is_returned(
    way: str, behind_postfix: Office, results: Results
) -> None:
    """Postfix's bounce has our words; what is deferred waits in its queue."""
    bounces = [a for a in behind_postfix.sink.arrivals if (a.sender, a.recipients) == ("", (ANN,))]
    about = [a for a in bounces if f"order-reject-by-{way}".encode() in a.message]
    assert len(about) == 1
    assert b"100% unwanted, as ordered" in about[0].message
    assert "451 4.7.1 Come again, as ordered" in behind_postfix.postfixes[way].log()


@pytest.mark.parametrize("way", WAYS)
def test_our_signature_holds_behind_postfix(
    way: str, sent: dict[str, Mail], results: Results, dkim_key: DkimKey, tmp_path: Path
) -> None:
    """Whatever was changed and however odd the message is, for dkimpy and for OpenDKIM."""
    signed = 0
    for name in sent:
        for arrival in results[way, name].arrivals:
            if b"d=office.example" in arrival.message[:500]:
                signed += 1
                assert dkimpy_accepts(arrival.message, [dkim_key]), name
    assert signed > 20
    for name in ("eight-bit", "dots", "long-lines", "order-headers", "order-body", "smtputf8"):
        (arrival,) = results[way, name].arrivals
        assert opendkim_accepts(arrival.message, [dkim_key], tmp_path) == "", name


@pytest.mark.parametrize("way", WAYS)
def test_a_strangers_signature_survives(
    way: str, results: Results, strangers_key: DkimKey, tmp_path: Path
) -> None:
    """Made with canonicalization simple, which bears no change of a single octet."""
    (arrival,) = results[way, "signed"].arrivals
    assert dkimpy_accepts(arrival.message, [strangers_key])
    assert opendkim_accepts(arrival.message, [strangers_key], tmp_path) == ""
