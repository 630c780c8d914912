"""A queue of 50,000 messages: taking mail, starting and sending don't mind it.

`make bench BENCH=--deep` measures the same with a million.
"""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.identifier import new_id
from filterrelay.observe.clock import SystemClock
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import (
    Deposit,
    Event,
    Settlement,
    StoredMessage,
    StoredRecipient,
)
from tests.bench.account import proportional_memory
from tests.bench.sink import Sink as CountingSink

from .peers.load import under_load
from .peers.process import members, wait_until
from .peers.program import Program
from .peers.sink import Sink

DEPTH = 50_000
SOME = 1500  # messages by which a rate is measured
AT_ONCE = 500
BODY = b"Subject: Deep\r\n\r\n" + 28 * (b"x" * 70 + b"\r\n")
# Half of what the bench wants: other tests run beside this one.
ACCEPT_AT_THE_END = 0.5
DRAIN_OF_FRESH = 0.25
MEMORY = 300 * 1024 * 1024
READY = 10.0  # seconds
CLEAN_FILE = 40 * 1024 * 1024
PATIENCE = 240.0  # seconds


def rate(program: Program) -> tuple[float, int]:
    """Messages acknowledged a second, and how many in all."""
    with under_load(program.ports["open"]) as load:
        load.wait_for(20)
        began, before = time.monotonic(), len(load.acknowledged)
        load.wait_for(SOME, PATIENCE)
        taken = (len(load.acknowledged) - before) / (time.monotonic() - began)
    return taken, len(load.acknowledged)


async def fill(file: Path) -> None:
    """Puts so many messages into the spool as an outage of the upstream leaves them."""
    clock = SystemClock()
    spool = SqliteSpool(file, clock)
    await spool.open()
    recipient = Recipient(Address("someone", "partner.example"))
    envelope = Envelope(Address("load", "office.example"), (recipient,), size=len(BODY))

    async def put(number: int) -> None:
        at = clock.now()
        stored = StoredRecipient(0, recipient, next_attempt=at + timedelta(hours=1))
        message = StoredMessage(new_id(at), at, envelope, {}, len(BODY), (stored,))
        data = {"sender": "load@office.example", "recipients": ["someone@partner.example"]}
        await spool.commit(Deposit(message, BODY, (Event(message.id, at, "received", data),)))
        reply = "451 4.4.1 connect: refused"
        deferred = replace(
            stored, attempts=1, upstream="provider", last_reply=reply, unreached=True
        )
        await spool.settle(Settlement(message.id, (deferred,)))

    for start in range(0, DEPTH, AT_ONCE):
        await asyncio.gather(*(put(number) for number in range(start, start + AT_ONCE)))
    await spool.close()


def test_a_deep_queue_is_no_burden(program: Program, sink: Sink) -> None:
    """Mail is taken as fast, the start is as quick, and all goes when the upstream is back."""
    program.config["spool"] = {"history": "1s"}
    file = program.home / "state" / "spool.sqlite"
    program.start()
    fresh, delivered = rate(program)
    wait_until(lambda: len(sink.arrivals) == delivered, "an empty queue")
    sink.down()
    at_the_start, first = rate(program)
    assert program.stop() == 0
    asyncio.run(fill(file))

    began = time.monotonic()
    program.start(READY)
    assert time.monotonic() - began < READY
    at_the_end, last = rate(program)
    assert at_the_end > ACCEPT_AT_THE_END * at_the_start
    assert proportional_memory([*members(program.process.pid)]) < MEMORY

    depth = first + DEPTH + last
    counting = CountingSink.start(sink.port)
    try:
        wait_until(lambda: counting.look() > 0, "the first delivery", 70)
        began = time.monotonic()
        wait_until(lambda: counting.look() >= depth, "all of them", PATIENCE)
        drained = depth / (time.monotonic() - began)
        assert drained > DRAIN_OF_FRESH * fresh
        wait_until(lambda: program.json_command("queue", "list") == [], "an empty queue", 30)
        assert counting.look() == depth
        assert program.stop() == 0
        program.start(READY)
        wait_until(lambda: file.stat().st_size < CLEAN_FILE, "a small file", PATIENCE)
        assert program.stop() == 0
    finally:
        counting.stop()
