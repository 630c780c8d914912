"""A message and its deliveries are one trace at a collector, whichever processes had them."""

import asyncio
from collections.abc import Iterator

import pytest

from .peers.collector import Collector, run_collector
from .peers.process import free_port, wait_until
from .peers.program import Program
from .peers.sink import Sink
from .test_observed import id_in, submit


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on loopback."""
    with run_collector() as made:
        yield made


async def test_acceptance_and_delivery_are_one_trace(
    program: Program, sink: Sink, collector: Collector
) -> None:
    """With the times one after the other, and a span for the filter."""
    program.config["filter"] = [{"use": "spam"}]
    program.config["observer"] = [{"use": "opentelemetry", "options": {"endpoint": collector.url}}]
    program.start()
    answer = await submit(program, "traced")
    await asyncio.to_thread(sink.wait_for, "traced")
    program.stop()
    (root,) = collector.named("message open")
    (delivery,) = collector.named("deliver provider")
    (turn,) = collector.named("spam on_message")
    assert root.attributes["filterrelay.message_id"] == id_in(answer)
    assert {delivery.trace, turn.trace} == {root.trace}
    assert {delivery.parent, turn.parent} == {root.id}
    assert root.begin <= turn.begin <= turn.end <= root.end <= delivery.end


async def test_a_collector_that_is_down_delays_no_mail(program: Program, sink: Sink) -> None:
    """It is said in the log, and `check` says it too."""
    url = f"http://127.0.0.1:{free_port()}/v1/traces"
    options = {"endpoint": url, "timeout": "1s"}
    program.config["observer"] = [{"use": "opentelemetry", "options": options}]
    program.start()
    answer = await submit(program, "untraced")
    assert answer.code == 250
    await asyncio.to_thread(sink.wait_for, "untraced")
    wait_until(lambda: url.split("/")[2].partition(":")[2] in program.log_text(), "its complaint")
    assert program.stop() == 0
    found = program.command("check", "--json")
    assert f"{url} takes no traces" in found.stdout
