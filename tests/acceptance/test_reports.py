"""What a sender hears of mail that doesn't arrive: the whole way, from the door to the report."""

import asyncio
from email import message_from_bytes, policy
from email.message import EmailMessage

from flufl.bounce import all_failures

from .peers.certificates import DkimKey
from .peers.conversation import greeted
from .peers.dkim_verifiers import dkimpy_accepts
from .peers.process import wait_until
from .peers.program import Program
from .peers.sink import Arrival, Sink

ANN, GONE = "ann@office.example", "gone@partner.example"
POSTMASTER = "postmaster@office.example"


async def submit(program: Program, *to: str) -> None:
    """One message through the open door."""
    text = f"From: <{ANN}>\r\nSubject: Lunch\r\n\r\nAt noon?\r\n".encode()
    async with greeted(program.ports["open"]) as conversation:
        assert (await conversation.deliver(ANN, to, text)).code == 250


async def report_to(reader: str, sink: Sink, subject: str) -> tuple[Arrival, EmailMessage]:
    """The report with that subject, as it came and as a mail program reads it."""

    def found() -> Arrival | None:
        return next((each for each in list(sink.arrivals) if each.recipients == (reader,)), None)

    arrival = await asyncio.to_thread(wait_until, found, f"a report for {reader}")
    assert arrival is not None
    assert arrival.sender == ""
    report = message_from_bytes(arrival.message, EmailMessage, policy=policy.default)
    assert report["Subject"] == subject
    return arrival, report


def text_of(report: EmailMessage) -> str:
    """The part for people."""
    part = report.get_body()
    assert part is not None
    return " ".join(part.get_content().split())


def failed(arrival: Arrival) -> set[str]:
    """Whom flufl.bounce finds to have failed; nobody may be late."""
    late, gone = all_failures(message_from_bytes(arrival.message))
    assert not late
    return {address.decode() for address in gone}


async def test_a_refused_recipient_is_told_to_the_sender_in_russian_and_signed(
    program: Program, sink: Sink, dkim_key: DkimKey
) -> None:
    """The other recipient gets the mail; flufl.bounce finds the one who didn't."""
    sink.answers[GONE.encode()] = b"550 5.1.1 Nobody of that name"
    program.config["delivery"] = {"language": "ru"}
    program.sign_with(dkim_key)
    program.start()
    await submit(program, "user@partner.example", GONE)
    arrival, report = await report_to(ANN, sink, "Ваше письмо не доставлено")
    assert failed(arrival) == {GONE}
    assert dkimpy_accepts(arrival.message, [dkim_key])
    assert report["From"].addresses[0].addr_spec == "MAILER-DAEMON@relay.office.example"
    assert "Такого адреса на сервере получателя нет." in text_of(report)
    assert text_of(report).endswith("550 5.1.1 Nobody of that name")
    (delivered,) = [each for each in sink.about("At noon?") if each.sender == ANN]
    assert delivered.recipients == ("user@partner.example",)


async def test_a_bounce_that_bounces_goes_to_the_postmaster_and_no_further(
    program: Program, sink: Sink, dkim_key: DkimKey
) -> None:
    """With the bounce in it, from the address that has a key. Refused there, it is dropped."""
    for address in (ANN, GONE):
        sink.answers[address.encode()] = b"550 5.1.1 Nobody of that name"
    program.config["delivery"] = {
        "postmaster": POSTMASTER,
        "report_from": "bounces@office.example",
    }
    program.sign_with(dkim_key)
    program.start()
    await submit(program, GONE)
    arrival, report = await report_to(POSTMASTER, sink, "A report could not be delivered")
    assert report["From"].addresses[0].addr_spec == "bounces@office.example"
    assert dkimpy_accepts(arrival.message, [dkim_key])
    assert failed(arrival) == {ANN, GONE}, "the report, and what that is about"
    bounce = list(report.iter_parts())[2].get_payload(0)
    assert isinstance(bounce, EmailMessage)
    assert bounce["Subject"] == "Your message could not be delivered"
    assert "no such address" in text_of(bounce)

    sink.answers[POSTMASTER.encode()] = b"550 5.1.1 Nobody of that name"
    await submit(program, GONE)

    def dropped() -> bool:
        return "nobody_told" in program.log_text() and not program.json_command("queue", "list")

    await asyncio.to_thread(wait_until, dropped, "a word in the log, and nothing in the queue")
    assert len(sink.arrivals) == 1
