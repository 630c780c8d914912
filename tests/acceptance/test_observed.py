"""What became of my mail? The ID in the 250 reply answers it everywhere."""

import asyncio
import re
import signal
from datetime import datetime
from typing import Any

import pytest

from .peers.certificates import DkimKey
from .peers.conversation import Answer, greeted, trusting_context
from .peers.process import LOOPBACK, run, wait_until
from .peers.program import USERS, Program, find_in
from .peers.sink import Sink

_ID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{17}\b")
ANN = next(iter(USERS))


async def submit(program: Program, subject: str, recipient: str = "user@partner.example") -> Answer:
    """One message through the open door."""
    text = f"From: <{ANN}>\r\nSubject: {subject}\r\n\r\nText.\r\n".encode()
    async with greeted(program.ports["open"]) as conversation:
        return await conversation.deliver(ANN, [recipient], text)


def id_in(answer: Answer) -> str:
    """The message's ID from the reply."""
    found = _ID.search(answer.text)
    assert found is not None, f"no ID in {answer}"
    return found[0]


def series(text: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    total = 0.0
    for line in text.splitlines():
        head, _, value = line.rpartition(" ")
        metric, _, rest = head.partition("{")
        if metric == name and all(f'{key}="{val}"' in rest for key, val in labels.items()):
            total += float(value)
    return total


async def test_one_id_leads_through_reply_log_header_and_trace(
    program: Program, sink: Sink, dkim_key: DkimKey
) -> None:
    """A user quotes the 250 reply, and the operator finds everything."""
    program.sign_with(dkim_key)
    program.start()
    answer = await submit(program, "find me")
    assert answer.code == 250
    message_id = id_in(answer)
    (arrival,) = await asyncio.to_thread(sink.wait_for, "find me")

    header = arrival.message.partition(b"\r\n\r\n")[0].decode()
    assert message_id in header
    assert "DKIM-Signature:" in header

    def traced() -> Any:
        document = program.json_command("trace", message_id)
        return document if "delivered" in str(document) else None

    document = await asyncio.to_thread(wait_until, traced, "the delivery in the trace")
    assert document["id"] == message_id
    kinds = [event["kind"] for event in document["events"]]
    assert kinds[0] == "received"
    assert "attempt" in kinds
    assert [t for t in find_in(document, "at") if datetime.fromisoformat(t).tzinfo is None] == []
    assert "user@partner.example" in str(document)
    assert f"{LOOPBACK}:{sink.port}" in str(document), "which host took it"
    assert find_in(document["events"][0], "client_ip") == [LOOPBACK]
    assert "dkim-sign" in str(document["events"][0])

    told = [event for event in program.log_events() if message_id in str(event)]
    assert len(told) >= 2, "the log tells of its arrival and of its delivery"
    for event in told:
        assert datetime.fromisoformat(event["at"]).tzinfo is not None
    assert program.command("trace", message_id).stdout.count(message_id) >= 1


async def test_a_refused_message_can_be_traced_too(program: Program, sink: Sink) -> None:
    """The refusal's reply carries an ID, or the log names it: why was my mail refused?"""
    program.config["filter"] = [{"use": "spam"}]
    program.start()
    gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
    text = f"From: <{ANN}>\r\nSubject: offer\r\n\r\n{gtube}\r\n".encode()
    async with greeted(program.ports["open"]) as conversation:
        answer = await conversation.deliver(ANN, ["user@partner.example"], text)
    assert answer.code == 550
    assert answer.enhanced == "5.7.1"
    message_id = id_in(answer)
    document = program.json_command("trace", message_id)
    assert "spam" in str(document)
    assert sink.arrivals == []


async def test_a_message_refused_at_the_door_can_be_traced_too(program: Program) -> None:
    """A printer that sends bare line feeds is found by the ID it was told, and is counted."""
    program.start()
    async with greeted(program.ports["open"]) as conversation:
        answer = await conversation.deliver(ANN, ["user@partner.example"], b"a: b\n\nText.\r\n")
    assert (answer.code, answer.enhanced) == (550, "5.6.11")
    message_id = id_in(answer)
    document = await asyncio.to_thread(program.json_command, "trace", message_id)
    assert find_in(document["events"][0], "client_ip") == [LOOPBACK]
    (told,) = [event for event in program.log_events() if event.get("message_id") == message_id]
    assert (told["listener"], told["sender"], told["verdict"]) == ("open", ANN, "reject")
    metrics = program.http("/metrics")[1]
    refused = series(metrics, "filterrelay_messages_total", listener="open", verdict="reject")
    assert refused == 1


async def test_an_unknown_id_is_said_to_be_unknown(program: Program) -> None:
    """Exit code 1 and a sentence, no stack of calls."""
    program.start()
    done = program.command("trace", "0" * 17)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert (done.stdout + done.stderr).strip()


@pytest.mark.peer("promtool")
async def test_promtool_likes_the_metrics(program: Program, sink: Sink) -> None:
    """Names, types and help are as Prometheus wants them."""
    program.start()
    await submit(program, "for the metrics")
    await asyncio.to_thread(sink.wait_for, "for the metrics")
    status, text = program.http("/metrics")
    assert status == 200
    checked = run(["promtool", "check", "metrics"], stdin=text.encode())
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def test_the_metrics_count_all_workers(program: Program, sink: Sink) -> None:
    """Twenty messages over twenty connections: whichever process took them, the sum is twenty."""
    program.start()
    for n in range(20):
        assert (await submit(program, f"counted {n}.")).code == 250
    await asyncio.to_thread(sink.wait_for, "Subject: counted", 20)

    def counted() -> bool:
        text = program.http("/metrics")[1]
        taken = series(text, "filterrelay_messages_total", listener="open", verdict="pass")
        gone = series(text, "filterrelay_deliveries_total", result="delivered")
        return taken == gone == 20

    await asyncio.to_thread(wait_until, counted, "twenty in the metrics", 10)
    named = [line for line in program.http("/metrics")[1].splitlines() if "partner.example" in line]
    assert all("_top_" in line for line in named), "no address is a label but in a top list"


async def test_health_and_readiness(program: Program) -> None:
    """/healthz says that it lives, /readyz that it takes mail; while it drains it takes none."""
    program.config["delivery"] = {"drain": "10s"}
    program.start()
    assert program.http("/healthz")[0] == 200
    assert program.http("/readyz")[0] == 200
    assert program.http("/nothing-here")[0] == 404
    async with greeted(program.ports["open"]) as slow:
        await slow.ask(b"MAIL FROM:<ann@office.example>")
        await slow.ask(b"RCPT TO:<user@partner.example>")
        await slow.ask(b"DATA")
        program.process.signal(signal.SIGTERM)
        await asyncio.to_thread(
            wait_until, lambda: program.http("/readyz")[0] != 200, "no longer ready", 5
        )
        await slow.send(b"Subject: last\r\n\r\nText.\r\n.\r\n")
        assert (await slow.read()).code == 250
    assert await asyncio.to_thread(program.process.wait, 15) == 0


async def test_a_password_is_in_no_log(program: Program) -> None:
    """Nor is the base64 of one; a failed login names the login and the client."""
    program.config["log"] = {"format": "json", "level": "debug"}
    program.start()
    async with greeted(program.ports["submission"]) as conversation:
        await conversation.ask(b"STARTTLS")
        await conversation.start_tls(trusting_context())
        await conversation.ask(b"EHLO client.office.example")
        await conversation.log_in(ANN, "very secret guess")
        await conversation.log_in(ANN, USERS[ANN])
    text = program.log_text()
    assert ANN in text
    for secret in ("very secret guess", USERS[ANN], "dmVyeSBzZWNyZXQg"):
        assert secret not in text
