"""Behind Sendmail's INPUT_MAIL_FILTER mail is taken, refused and edited as behind Postfix."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .behind_postfix.ways import install_orders
from .peers.certificates import Certificates, DkimKey
from .peers.conversation import Answer, greeted
from .peers.dkim_verifiers import dkimpy_accepts, opendkim_accepts
from .peers.process import wait_until, workplace
from .peers.program import Program, run_program
from .peers.sendmail import Sendmail, run_sendmail
from .peers.sink import Arrival, Sink, run_sink

pytestmark = pytest.mark.peer("sendmail", "opendkim")

SENDER = "ann@office.example"
RECIPIENTS = ("user@partner.example", "second@partner.example")


@dataclass(frozen=True)
class Behind:
    """A Sendmail, filterrelay as its milter, and where its mail goes."""

    sendmail: Sendmail
    program: Program
    sink: Sink

    async def send(
        self, name: str, order: str = "", *, body: bytes = b"Hello\r\n", sender: str = SENDER
    ) -> Answer:
        """Sendmail's last word on a message with that subject. order: the plugin's."""
        header = (
            f"From: Ann <{SENDER}>",
            f"To: User <{RECIPIENTS[0]}>",
            "Date: Thu, 01 Jan 2026 12:00:00 +0100",
            f"Message-ID: <{name}@office.example>",
            f"Subject: {name}",
            f"X-Order: {order}",
            "X-Twice: one",
            "X-Twice: two",
            "X-Secret: one",
            "X-Secret: two",
            "X-Tight:no blank",
            "X-Folded: one\r\n\ttwo",
        )
        message = "".join(f"{field}\r\n" for field in header).encode() + b"\r\n" + body
        async with greeted(self.sendmail.port) as conversation:
            return await conversation.deliver(sender, RECIPIENTS, message)

    async def arrival(self, name: str, order: str = "", *, body: bytes = b"Hello\r\n") -> Arrival:
        """What arrives of a message that is taken, once Sendmail has delivered all of it."""
        answer = await self.send(name, order, body=body)
        assert answer.code == 250, answer
        (arrived,) = self.sink.wait_for(f"<{name}@office.example>")
        return arrived


@pytest.fixture(scope="module")
def behind(certificates: Certificates, dkim_key: DkimKey) -> Iterator[Behind]:
    """All of them, running; the milter behind a unix socket."""
    with (
        run_sink() as sink,
        run_program(certificates, sink.port) as program,
        workplace("socket") as folder,
        workplace("site") as site,
    ):
        socket = folder / "milter.sock"
        program.config["listener"].append({"kind": "milter", "address": f"unix:{socket}"})
        program.config["filter"] = [{"use": "office-orders"}]
        program.sign_with(dkim_key)
        install_orders(site / "packages")
        inherited = os.environ.get("PYTHONPATH", "")
        program.wrapper = ["env", f"PYTHONPATH={site}/packages{os.pathsep}{inherited}"]
        program.start()
        with run_sendmail(sink.port, f"local:{socket}") as sendmail:
            yield Behind(sendmail, program, sink)


def fields(arrived: Arrival, name: str) -> list[str]:
    """The values of all fields of that name, in order, line ends and all."""
    head = arrived.message.partition(b"\r\n\r\n")[0].decode() + "\r\n"
    return re.findall(rf"(?ms)^{name}:(.*?)\r\n(?![ \t])", head)


async def test_mail_is_taken_and_signed(behind: Behind, dkim_key: DkimKey, tmp_path: Path) -> None:
    """The signature holds for the octets that leave Sendmail, odd fields and bodies included."""
    body = b".\r\n..dots\r\nblanks behind  \r\n" + "Grüße".encode() + b"\r\n\r\n\r\n"
    arrived = await behind.arrival("taken", body=body)
    assert set(arrived.recipients) == set(RECIPIENTS)
    assert fields(arrived, "X-Tight") == ["no blank"]
    assert dkimpy_accepts(arrived.message, [dkim_key])
    assert opendkim_accepts(arrived.message, [dkim_key], tmp_path) == ""


@pytest.mark.parametrize(
    ("order", "code", "status", "text"),
    [
        ("reject", 550, "5.7.1", "100% unwanted, as ordered"),
        ("defer", 451, "4.7.1", "Come again, as ordered"),
    ],
)
async def test_refused_mail_is_refused_in_our_words(
    order: str, code: int, status: str, text: str, behind: Behind
) -> None:
    """The client hears reply code, status and text of the verdict, while it is connected."""
    answer = await behind.send(f"to-{order}", order)
    assert (answer.code, answer.enhanced) == (code, status)
    assert text in answer.text
    assert behind.sink.about(f"<to-{order}@office.example>") == []


async def test_a_sender_and_a_recipient_are_refused(behind: Behind) -> None:
    """At their own command; the other recipients get the mail."""
    answer = await behind.send("from-refused", sender="refused-sender@office.example")
    assert (answer.code, answer.enhanced) == (553, "5.1.8")
    async with greeted(behind.sendmail.port) as conversation:
        assert (await conversation.ask(f"MAIL FROM:<{SENDER}>".encode())).code == 250
        refused = await conversation.ask(b"RCPT TO:<refused-user@partner.example>")
        assert (refused.code, refused.enhanced) == (550, "5.1.1")
        assert (await conversation.ask(f"RCPT TO:<{RECIPIENTS[0]}>".encode())).code == 250
        assert (await conversation.ask(b"DATA")).code == 354
        await conversation.send(b"Subject: half refused\r\n\r\nHello\r\n.\r\n")
        assert (await conversation.read()).code == 250
    (arrived,) = behind.sink.wait_for("half refused")
    assert arrived.recipients == RECIPIENTS[:1]


async def test_fields_are_added_changed_and_removed(behind: Behind) -> None:
    """Each where it belongs: on top, at the end, the second of two."""
    arrived = await behind.arrival("headers-edited", "headers")
    assert fields(arrived, "Subject") == [" changed: Grüße"]
    assert fields(arrived, "X-Twice") == [" one", " the second, changed"]
    assert fields(arrived, "X-Secret") == []
    assert [value.split() for value in fields(arrived, "X-Top")] == [["on", "top,", "folded"]]
    names = re.findall(rb"(?m)^([!-9;-~]+):", arrived.message.partition(b"\r\n\r\n")[0])
    assert names.index(b"X-Top") < names.index(b"From") < names.index(b"X-End")


async def test_the_body_is_replaced(behind: Behind) -> None:
    """Its dots, its per cent signs and its last line end as the plugin wrote them."""
    arrived = await behind.arrival("body-edited", "body")
    new = b"100 % another body.\r\n.\r\n..and dots\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    assert arrived.message.partition(b"\r\n\r\n")[2] == new


async def test_the_envelope_is_changed(behind: Behind) -> None:
    """Another sender, one recipient instead of the other."""
    arrived = await behind.arrival("envelope-edited", "recipients sender")
    assert arrived.sender == "changed@office.example"
    assert sorted(arrived.recipients) == ["added@partner.example", RECIPIENTS[1]]


async def test_discarded_mail_is_taken_and_goes_nowhere(behind: Behind) -> None:
    """250, and nothing at the sink when what came behind it is there."""
    assert (await behind.send("to-discard", "discard")).code == 250
    await behind.arrival("behind-the-discarded")
    assert behind.sink.about("<to-discard@office.example>") == []


async def test_quarantined_mail_is_held(behind: Behind) -> None:
    """In Sendmail's own queue, whose owner releases it there."""
    assert (await behind.send("to-quarantine", "quarantine")).code == 250
    wait_until(lambda: behind.sendmail.held() == 1, "a quarantined message")
    assert behind.sink.about("<to-quarantine@office.example>") == []


async def test_big_mail_passes_whole(behind: Behind) -> None:
    """10 MB, which come in many pieces of body."""
    body = b"".join(b"%08d %s\r\n" % (n, b"0123456789abcdef" * 4) for n in range(135_000))
    arrived = await behind.arrival("big", body=body)
    assert arrived.message.endswith(b"\r\n\r\n" + body)


async def test_mail_waits_while_the_milter_is_down(behind: Behind) -> None:
    """F=T in the configuration: a temporary refusal, never mail that nobody has looked at."""
    assert behind.program.stop() == 0
    answer = await behind.send("while-down")
    assert answer.code // 100 == 4
    behind.program.start()

    assert (await behind.send("up-again")).code == 250
    behind.sink.wait_for("<up-again@office.example>")
    assert behind.sink.about("<while-down@office.example>") == []
