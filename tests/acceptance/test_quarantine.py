"""What a filter sets aside can be looked at, let go or thrown away."""

import asyncio
from typing import Any

import pytest

from .peers.certificates import DkimKey
from .peers.conversation import Answer, greeted
from .peers.dkim_verifiers import dkimpy_accepts
from .peers.process import wait_until
from .peers.program import Program
from .peers.sink import Sink

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@pytest.fixture
def careful(program: Program, dkim_key: DkimKey) -> Program:
    """A program that never refuses spam but quarantines it, and signs what it sends."""
    program.config["filter"] = [{"use": "spam", "options": {"reject": "off"}}]
    program.sign_with(dkim_key)
    program.start()
    return program


async def submit(program: Program, subject: str, text: str) -> Answer:
    """One message through the open door."""
    message = f"From: <ann@office.example>\r\nSubject: {subject}\r\n\r\n{text}\r\n".encode()
    async with greeted(program.ports["open"]) as conversation:
        return await conversation.deliver("ann@office.example", ["user@partner.example"], message)


def quarantined(program: Program) -> list[dict[str, Any]]:
    """What `quarantine list --json` shows."""
    listed = program.json_command("quarantine", "list")
    assert isinstance(listed, list)
    return listed


async def test_a_quarantined_message_is_accepted_and_kept(careful: Program, sink: Sink) -> None:
    """The sender gets 250, the recipient nothing; the list says who, what, why and by which."""
    assert (await submit(careful, "set aside", GTUBE)).code == 250
    assert (await submit(careful, "passes by", "All is well.")).code == 250
    await asyncio.to_thread(sink.wait_for, "passes by")
    (entry,) = quarantined(careful)
    assert entry["sender"] == "ann@office.example"
    assert [one["address"] for one in entry["recipients"]] == ["user@partner.example"]
    assert entry["by"] == "spam"
    assert entry["reason"]
    assert sink.about("set aside") == []
    assert careful.json_command("queue", "list") == []
    shown = careful.json_command("quarantine", "show", entry["id"])
    assert "set aside" in str(shown)
    assert entry["id"] in careful.command("quarantine", "list").stdout


async def test_a_released_message_is_delivered_signed_and_not_caught_again(
    careful: Program, sink: Sink, dkim_key: DkimKey
) -> None:
    """The operator's word counts more than the filter's."""
    await submit(careful, "let go", GTUBE)
    (entry,) = quarantined(careful)
    done = careful.command("quarantine", "release", entry["id"])
    assert done.returncode == 0, done.stdout + done.stderr
    (arrival,) = await asyncio.to_thread(sink.wait_for, "let go")
    assert GTUBE.encode() in arrival.message
    assert dkimpy_accepts(arrival.message, [dkim_key])
    await asyncio.to_thread(wait_until, lambda: quarantined(careful) == [], "an empty quarantine")
    traced = careful.json_command("trace", entry["id"])
    kinds = [event["kind"] for event in traced["events"]]
    assert "released" in kinds
    assert len(sink.about("let go")) == 1


async def test_a_deleted_message_is_gone(careful: Program, sink: Sink) -> None:
    """Neither list nor show knows it any more; the trace tells that it was deleted."""
    await submit(careful, "thrown away", GTUBE)
    (entry,) = quarantined(careful)
    assert careful.command("quarantine", "delete", entry["id"]).returncode == 0
    assert quarantined(careful) == []
    assert careful.command("quarantine", "show", entry["id"]).returncode == 1
    assert careful.command("quarantine", "release", entry["id"]).returncode == 1
    assert "deleted" in str(careful.json_command("trace", entry["id"]))
    assert sink.about("thrown away") == []


async def test_the_quarantine_outlives_a_crash(careful: Program, sink: Sink) -> None:
    """Accepted is accepted: after kill -9 it is still there, and can still be released."""
    await submit(careful, "still there", GTUBE)
    careful.kill_all()
    careful.start()
    (entry,) = quarantined(careful)
    assert careful.command("quarantine", "release", entry["id"]).returncode == 0
    await asyncio.to_thread(sink.wait_for, "still there")


async def test_what_a_failing_filter_sets_aside_is_kept_too(program: Program, sink: Sink) -> None:
    """on_error = "quarantine": the scanner is down, mail is neither lost nor let through."""
    program.config["filter"] = [
        {
            "use": "clamav",
            "on_error": "quarantine",
            "timeout": "2s",
            "options": {"socket": f"unix:{program.home}/nobody.sock"},
        }
    ]
    program.start()
    assert (await submit(program, "not scanned", "All is well.")).code == 250
    (entry,) = quarantined(program)
    assert entry["by"] == "clamav"
    assert program.command("quarantine", "release", entry["id"]).returncode == 0
    await asyncio.to_thread(sink.wait_for, "not scanned")
