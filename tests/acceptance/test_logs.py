"""What the logs say of a busy hour: Debian's pflogsumm counts it, and no secret is in it."""

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from .peers.conversation import greeted, trusting_context
from .peers.process import LOOPBACK, free_port, run, wait_until
from .peers.program import USERS, Program
from .peers.sink import Sink
from .test_quarantine import GTUBE

ANN = next(iter(USERS))
BOB, CARL, LATER, NOBODY = (
    *("bob@partner.example", "carl@other.example"),
    *("later@partner.example", "nobody@other.example"),
)
OFFICE = "bob@office.example"
TRAPS = ("trap-in-the-body", "trap-in-a-header", "trap-in-a-guess", USERS[ANN])
PLUGIN = """\
from filterrelay.plugin import Message, Options, hook
class Fails:
    options_type = Options
    def __init__(self, options: Options) -> None:
        pass
    @hook
    async def on_message(self, message: Message) -> None:
        if message.get("subject") == "fails":
            body, subject = message.body, message.get("x-trap")
            raise RuntimeError("the plugin has a fault")
"""


@dataclass(frozen=True)
class Counted:
    """What pflogsumm reports. totals: by its words. recipients, domains: delivered to each."""

    totals: Mapping[str, int]
    recipients: Mapping[str, int]
    senders: Mapping[str, int]
    domains: Mapping[str, tuple[int, int]]


def counted(log: Path) -> Counted:
    """pflogsumm's report on the mail log."""
    done = run(["pflogsumm", "--syslog-name=filterrelay", str(log)])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "no size data" not in done.stdout, "each message is told of before its attempts"
    totals, _, rest = done.stdout.partition("Per-Hour Traffic")
    domains = _section(rest, "Host/Domain Summary: Message Delivery")
    return Counted(
        {
            words: int(count)
            for count, words in re.findall(r"(?m)^ +(\d+)k? +([a-z]+(?: [a-z]+)*)", totals)
        },
        _users(_section(rest, "Recipients by message count")),
        _users(_section(rest, "Senders by message count")),
        {line.split()[-1]: (int(line.split()[0]), int(line.split()[2])) for line in domains},
    )


def _section(report: str, title: str) -> list[str]:
    """The lines of figures below a title."""
    _, _, rest = report.partition(f"\n{title}")
    return [line for line in rest.partition("\n\n")[0].splitlines() if re.match(r" +\d", line)]


def _users(lines: Sequence[str]) -> dict[str, int]:
    return {line.split()[1]: int(line.split()[0]) for line in lines}


@pytest.fixture
def busy(program: Program, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A relay for all that can happen to mail, with a plugin that fails; everything is logged."""
    (tmp_path / "fails.py").write_text(PLUGIN)
    about = tmp_path / "fails-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fails\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[filterrelay.plugins]\nfails = fails:Fails\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    program.config["filter"] = [
        {"use": "fails", "applies_to": ["open"]},
        {"use": "spam", "applies_to": ["open"]},
        {
            "use": "spam",
            "name": "gentle",
            "applies_to": ["guarded"],
            "options": {"reject": "off"},
        },
    ]
    program.ports["proxy"] = free_port()
    program.config["listener"].append(
        {
            "kind": "proxy",
            "address": f"{LOOPBACK}:{program.ports['proxy']}",
            "upstream": "provider",
        }
    )
    program.config["delivery"] = {"retry": "1h", "retry_max": "1h"}
    program.config["log"] = {"format": "json", "level": "debug", "mail_log": "mail.log"}
    sink.answers[LATER.encode()] = b"450 4.2.0 <%b> is asleep" % LATER.encode()
    sink.answers[NOBODY.encode()] = b"550 5.1.1 <%b>: unknown here" % NOBODY.encode()
    return program


def message(subject: str, text: str = "All is well.") -> bytes:
    """With a trap in its header and one in its body."""
    return (
        f"From: <{ANN}>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@office.example>\r\n"
        f"X-Trap: {TRAPS[1]}\r\n\r\n{text}\r\n{TRAPS[0]}\r\n"
    ).encode()


async def an_hour(program: Program, sink: Sink) -> None:
    """Each kind of outcome, and none left under way."""
    sent: list[tuple[int, str, str, Sequence[str], bytes]] = [
        (250, "open", ANN, [BOB, CARL], message("two")),
        (250, "open", ANN, [BOB], message("again")),
        (250, "open", ANN, [LATER], message("deferred")),
        (250, "open", ANN, [NOBODY, CARL], message("bounced")),
        (550, "open", ANN, [BOB], message("spam", GTUBE)),
        (451, "open", ANN, [BOB], message("fails")),
        (250, "guarded", BOB, [OFFICE], message("held", GTUBE)),
        (550, "guarded", BOB, [CARL], message("relayed")),
        (250, "proxy", ANN, [BOB], message("passed")),
        (550, "proxy", ANN, [NOBODY], message("unpassed")),
        (550, "open", ANN, [BOB], b"a: b\n\n%b\r\n" % TRAPS[0].encode()),
    ]
    for code, listener, sender, recipients, text in sent:
        async with greeted(program.ports[listener]) as conversation:
            answer = await conversation.deliver(sender, recipients, text)
            assert answer.code == code, (answer, text)
    context: ssl.SSLContext = trusting_context()
    async with greeted(program.ports["smtps"], tls=context) as conversation:
        assert (await conversation.log_in(ANN, TRAPS[2])).code == 535
        assert (await conversation.log_in(ANN, USERS[ANN])).code == 235
        assert (await conversation.deliver(ANN, [BOB], message("submitted"))).code == 250
    await asyncio.to_thread(wait_until, lambda: len(sink.arrivals) >= 6, "all that is delivered")
    results = ("delivered", "deferred", "bounced")

    def settled() -> bool:
        events = [event["event"] for event in program.log_events()]
        return sum(event in results for event in events) >= 8 and events.count("removed") >= 5

    await asyncio.to_thread(wait_until, settled, "all results in the log")
    assert program.stop() == 0


TOTALS = {
    "received": 7,
    "delivered": 7,
    "deferred": 1,
    "bounced": 1,
    "rejected": 5,
    "held": 1,
    "discarded": 0,
    "forwarded": 0,
    "senders": 2,
    "recipients": 3,
}


def assert_no_secret(program: Program) -> None:
    """Neither a password nor what is in mail, in any log, not even at a fault."""
    (failed,) = [event for event in program.log_events() if event["event"] == "plugin_failed"]
    assert failed["exception"][0]["exc_value"] == "the plugin has a fault"
    for text in (program.log_text(), (program.home / "mail.log").read_text()):
        for secret in TRAPS:
            assert secret not in text


@pytest.mark.peer("pflogsumm")
async def test_pflogsumm_counts_what_was_done(busy: Program, sink: Sink) -> None:
    """By its kinds, by recipient, by sender and by domain, as the smart host saw it."""
    busy.start()
    await an_hour(busy, sink)
    report = counted(busy.home / "mail.log")
    arrived = Counter(to for arrival in sink.arrivals for to in arrival.recipients)
    assert arrived == {BOB: 4, CARL: 2, ANN: 1}, "with the bounce"
    assert {words: report.totals[words] for words in TOTALS} == TOTALS
    assert report.recipients == arrived
    assert report.senders == {ANN: 6, BOB: 1}
    assert report.domains == {
        "partner.example": (4, 1),
        "other.example": (2, 0),
        "office.example": (1, 0),
    }
    removed = re.findall(r": (\w+): removed", (busy.home / "mail.log").read_text())
    assert len(removed) == len({*removed}) == 5, "not what waits, is held or was never queued"
    assert_no_secret(busy)


@pytest.mark.peer("pflogsumm")
async def test_hashed_addresses_are_counted_as_well(busy: Program, sink: Sink) -> None:
    """One address is one hash, whichever worker logs it, and no address is in any log."""
    busy.config["log"]["addresses"] = "hashed"
    busy.start()
    await an_hour(busy, sink)
    report = counted(busy.home / "mail.log")
    assert {words: report.totals[words] for words in TOTALS} == TOTALS
    assert sorted(report.recipients.values()) == [1, 2, 4]
    assert sorted(report.domains.values()) == [(1, 0), (2, 0), (4, 1)]
    for text in (busy.log_text(), (busy.home / "mail.log").read_text()):
        for address in (ANN, BOB, CARL, LATER, NOBODY, OFFICE):
            assert address not in text
    assert_no_secret(busy)
