"""Viruses are refused at the door by a real clamd; without clamd, mail waits."""

import asyncio
from email.message import EmailMessage

import pytest

from .peers.clamd import EICAR, HAND_MADE, Clamd
from .peers.conversation import Answer, greeted
from .peers.process import LOOPBACK
from .peers.program import Program
from .peers.sink import Sink

pytestmark = pytest.mark.peer("clamd")

SENDER = "ann@office.example"
RECIPIENT = "user@partner.example"


def letter(subject: str, attachment: bytes = b"") -> bytes:
    """A message with CRLF line ends, with a file attached when there is one."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, RECIPIENT, subject
    message.set_content("Please find the file attached.")
    if attachment:
        message.add_attachment(
            attachment, maintype="application", subtype="octet-stream", filename="file.bin"
        )
    return message.as_bytes().replace(b"\n", b"\r\n")


async def submit(program: Program, message: bytes) -> Answer:
    """The door's last word on the message."""
    async with greeted(program.ports["open"]) as conversation:
        return await conversation.deliver(SENDER, [RECIPIENT], message)


def scan_with(program: Program, address: str, **more: str) -> None:
    """Puts clamd into the chain."""
    program.config["filter"] = [{"use": "clamav", "options": {"socket": address}} | more]


@pytest.fixture(params=["unix", "tcp"])
def scanning(request: pytest.FixtureRequest, program: Program, clamd: Clamd) -> Program:
    """A started program whose mail clamd scans, by its Unix socket or its port."""
    scan_with(
        program, f"unix:{clamd.socket}" if request.param == "unix" else f"{LOOPBACK}:{clamd.port}"
    )
    program.start()
    return program


@pytest.mark.parametrize(
    ("name", "virus"),
    [pytest.param("EICAR", EICAR, id="eicar"), pytest.param("own", HAND_MADE, id="own")],
)
async def test_a_virus_is_refused_at_the_door(
    name: str, virus: bytes, scanning: Program, sink: Sink
) -> None:
    """550 5.7.1 while the sender still listens: no bounce, nothing stored, nothing delivered."""
    answer = await submit(scanning, letter(f"virus {name}", virus))
    assert (answer.code, answer.enhanced) == (550, "5.7.1")
    clean = await submit(scanning, letter("clean behind it"))
    assert clean.code == 250
    sink.wait_for("clean behind it")
    assert sink.about(f"virus {name}") == []
    assert scanning.json_command("queue", "list") == []


async def test_a_virus_in_the_text_is_refused(scanning: Program, sink: Sink) -> None:
    """Not only files are scanned, but the message as it is."""
    answer = await submit(scanning, letter("text").replace(b"Please", HAND_MADE))
    assert (answer.code, answer.enhanced) == (550, "5.7.1")
    assert sink.arrivals == []


async def test_a_big_message_is_scanned_to_its_end(scanning: Program, sink: Sink) -> None:
    """20 MB go to clamd in pieces; a virus in the last of them is found."""
    padding = bytes(range(256)) * 57_000  # 14.6 MB, 20 MB in base64
    infected = await submit(scanning, letter("big and bad", padding + HAND_MADE))
    assert (infected.code, infected.enhanced) == (550, "5.7.1")
    clean = await submit(scanning, letter("big and clean", padding))
    assert clean.code == 250
    sink.wait_for("big and clean", seconds=60)


async def test_without_clamd_mail_is_deferred(program: Program, sink: Sink, clamd: Clamd) -> None:
    """on_error = "defer": 4xx while clamd is down, and all well when it is back."""
    scan_with(program, f"unix:{clamd.socket}", on_error="defer", timeout="5s")
    program.start()
    assert (await submit(program, letter("with clamd"))).code == 250
    clamd.stop()
    answer = await submit(program, letter("without clamd"))
    assert answer.code // 100 == 4
    assert answer.enhanced.startswith("4.")
    assert "clamd" not in answer.text.lower(), "the client need not know what we use"
    clamd.start()
    sink.wait_for("with clamd")
    assert sink.about("without clamd") == []
    await _until_accepted(program, letter("clamd is back"))
    sink.wait_for("clamd is back")


async def test_without_clamd_mail_passes_if_told_so(
    program: Program, sink: Sink, clamd: Clamd
) -> None:
    """on_error = "accept" is the operator's own choice; the trace tells of the failure."""
    scan_with(program, f"unix:{clamd.socket}", on_error="accept", timeout="5s")
    clamd.stop()
    program.start()
    assert (await submit(program, letter("not scanned"))).code == 250
    sink.wait_for("not scanned")


async def _until_accepted(program: Program, message: bytes) -> None:
    """Sends again as a client would: a circuit breaker may hold for a while."""
    for _ in range(60):
        answer = await submit(program, message)
        if answer.code == 250:
            return
        assert answer.code // 100 == 4
        await asyncio.sleep(1)  # between two tries of a client
    raise AssertionError("still deferred after a minute")
