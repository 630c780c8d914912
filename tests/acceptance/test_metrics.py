# mypy: allow-untyped-calls
# (prometheus_client's parser has no types)
"""Metrics that no client can blow up, and that lose no count, whoever dies."""

import asyncio
import contextlib
import getpass
import itertools
import os
import re
import secrets
import signal
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from argon2 import PasswordHasher
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from .peers.conversation import Closed, Conversation, greeted, submit, trusting_context
from .peers.load import arrived, under_load
from .peers.process import LOOPBACK, Process, children, free_port, run, wait_until, workplace
from .peers.program import USERS, Program, program_path
from .peers.prometheus import Prometheus, run_prometheus
from .peers.sink import Sink

ANN, PASSWORD = next(iter(USERS.items()))
MOST = 2000  # series
NAMED = 10  # by a top list, if nothing else is said
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_FILTERS = """
[[filter]]
use = "clamav"
on_error = "accept"
[filter.options]
socket = "unix:/nobody/listens/here"
"""
_SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? ([0-9.e+-]+|\+Inf|NaN)")
_COUNTING = ("_total", "_bucket", "_count", "_sum")


class Served:
    """The program as `filterrelay init` makes it, with all filters that it can switch on."""

    def __init__(self, home: Path, sink: Sink) -> None:
        self.home = home
        self.file = home / "filterrelay.toml"
        self.metrics, self.port = free_port(), free_port()
        options = ["--hostname", "relay.office.example", "--upstream", f"{LOOPBACK}:{sink.port}"]
        done = run([program_path(), "init", str(home), *options])
        assert done.returncode == 0, done.stderr
        text = self.file.read_text()
        for old, new in (
            ('# address = "127.0.0.1:9325"', f'address = "{LOOPBACK}:{self.metrics}"'),
            ('address = "0.0.0.0:587"', f'address = "{LOOPBACK}:{self.port}"'),
            ("# workers = 0", "workers = 2"),
            ('# senders = "own"', 'senders = "any"'),
            ('tls      = "required"', 'tls      = "none"'),
            ("# --- What leaves is signed", f"{'' if 'clamav' in text else _FILTERS}\n# --- "),
        ):
            assert old in text
            text = text.replace(old, new)
        self.file.write_text(f'user = "{getpass.getuser()}"\n{text}')
        quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        (home / "users").write_text(f"{ANN}:{{ARGON2ID}}{quick.hash(PASSWORD)}\n")

    def scrape(self, accept: str = "") -> str:
        """What /metrics says; empty while nobody answers."""
        asked = urllib.request.Request(
            f"http://{LOOPBACK}:{self.metrics}/metrics", headers={"Accept": accept}
        )
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""


@contextmanager
def served(sink: Sink) -> Iterator[Served]:
    """It runs."""
    with workplace("init") as home:
        program = Served(home, sink)
        process = Process([program_path(), "serve", "-c", str(program.file)], home / "log")
        try:
            wait_until(program.scrape, "filterrelay answers")
            process.wait_for_port(program.port)
            yield program
            assert "Traceback" not in process.output()
        finally:
            process.kill_group()


def samples(text: str) -> dict[tuple[str, str], float]:
    """The value of each series, by its name and its labels."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = [_SAMPLE.fullmatch(line) for line in lines]
    assert None not in found, lines
    return {(each[1], each[2] or ""): float(each[3]) for each in found if each}


MARK = "zzqx"  # is in everything that an attacker makes up


def made_up() -> str:
    """A name that nobody has."""
    return f"{MARK}{secrets.token_hex(6)}"


async def _encrypted(conversation: Conversation) -> None:
    await conversation.ask(b"STARTTLS")
    await conversation.start_tls(trusting_context())
    await conversation.ask(f"EHLO {made_up()}.example".encode())


async def _greets(conversation: Conversation) -> None:
    for _ in range(100):
        await conversation.ask(f"{secrets.choice(('EHLO', 'HELO'))} {made_up()}.example".encode())


async def _invents_verbs(conversation: Conversation) -> None:
    for _ in range(9):
        await conversation.ask(f"{made_up()} {made_up()}".encode())


async def _guesses(conversation: Conversation) -> None:
    """A few times each, since every time takes longer than the one before."""
    await _encrypted(conversation)
    for _ in range(3):
        await conversation.log_in(f"{made_up()}@{made_up()}.example", made_up())


async def _sends_unasked(conversation: Conversation) -> None:
    for _ in range(9):
        await conversation.ask(f"MAIL FROM:<{made_up()}@{made_up()}.example>".encode())


async def _sends_everywhere(conversation: Conversation) -> None:
    """With a stolen password: the domains count, and so are in a top list."""
    await _encrypted(conversation)
    assert (await conversation.log_in(ANN, PASSWORD)).code == 235
    for _ in range(2):
        recipients = [f"{made_up()}@{made_up()}.example" for _ in range(10)]
        sender = f"{made_up()}@{made_up()}.example"
        await conversation.deliver(sender, recipients, b"Subject: buy\r\n\r\nText.\r\n")


async def _attack(port: int) -> None:
    """Each from an address of its own."""
    clients = (f"127.1.{n // 200}.{n % 200 + 1}" for n in itertools.count())

    async def one(kind: Callable[[Conversation], Awaitable[None]]) -> None:
        with contextlib.suppress(Closed):
            async with greeted(port, client=next(clients)) as conversation:
                await kind(conversation)

    async with asyncio.TaskGroup() as attackers:
        for kind, sessions in _SESSIONS.items():
            for _ in range(sessions):
                attackers.create_task(one(kind))


_SESSIONS = {
    _greets: 20,
    _invents_verbs: 30,
    _guesses: 40,
    _sends_unasked: 30,
    _sends_everywhere: 12,
}


@pytest.mark.peer("promtool")
async def test_no_client_makes_the_series_many(sink: Sink) -> None:
    """Thousands of names, in every place where a client may say one, from many connections."""
    with served(sink) as program:
        await _attack(program.port)
        others = r'top_destination_recipients\{destination="other",result="delivered"\} [1-9]'
        await asyncio.to_thread(
            wait_until, lambda: re.search(others, program.scrape()), "the lists", 15
        )
        text, modern = program.scrape(), program.scrape(OPENMETRICS)
    series = samples(text)
    said = sum(series[each] for each in series if each[0] == "filterrelay_commands_total")
    assert said > 2000, "the attack took place"
    assert len(series) < MOST
    assert not [name for name, _ in series if name.endswith("_created")]
    named = [(name, labels) for name, labels in series if MARK in labels]
    assert {name for name, _ in named} == {"filterrelay_top_destination_recipients"}
    assert len({labels.split(",")[0] for _, labels in named}) == NAMED
    sent = ("filterrelay_top_login_messages", f'login="{ANN}",outcome="accepted"')
    assert series[sent] == 2 * _SESSIONS[_sends_everywhere]
    families = {each.name: each for each in text_string_to_metric_families(modern)}
    assert families["filterrelay_messages"].type == "counter"
    assert modern.endswith("# EOF\n")
    checked = run(["promtool", "check", "metrics"], stdin=text.encode())
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.peer("prometheus")
def test_prometheus_keeps_which_message_took_so_long(program: Program, sink: Sink) -> None:
    """It asks for OpenMetrics by itself, and of each bucket knows a message that can be traced."""
    program.start()
    submit(program.ports["open"], ["user@partner.example"], b"Subject: traced\r\n\r\nText.\r\n")
    (arrival,) = sink.wait_for("Subject: traced")
    with run_prometheus(f"{LOOPBACK}:{program.ports['metrics']}", ()) as prometheus:
        for series in ("filterrelay_accept_seconds", "filterrelay_delivery_seconds"):
            (known,) = wait_until(partial(_exemplars, prometheus, series), "an exemplar")
            message_id = known["labels"]["message_id"]
            assert message_id.encode() in arrival.message.partition(b"\r\n\r\n")[0]
            assert abs(known["timestamp"] - time.time()) < 60
            assert 0 < float(known["value"]) < 60


def _exemplars(prometheus: Prometheus, series: str) -> list[dict[str, Any]]:
    """Those of all its buckets."""
    asked = {"query": f"{series}_bucket", "start": time.time() - 60, "end": time.time() + 60}
    found = prometheus.ask("query_exemplars", [(key, str(value)) for key, value in asked.items()])
    return [exemplar for each in found for exemplar in each["exemplars"]]


class Watch:
    """Scrapes without a pause, and notes each count that went back."""

    def __init__(self, program: Program) -> None:
        self.last: dict[tuple[str, str], float] = {}
        self.gone_back: list[str] = []
        self.scrapes = 0
        self._program = program
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(20)

    def _work(self) -> None:
        while not self._stopping.wait(0.02):
            status, text = self._program.http("/metrics")
            if status != 200:
                continue  # the control process is being replaced
            self.scrapes += 1
            now = samples(text)
            for series, before in self.last.items():
                if now.get(series, 0.0) < before:
                    self.gone_back.append(f"{series}: {before} to {now.get(series)}")
            self.last = {each: now[each] for each in now if each[0].endswith(_COUNTING)}


def _has_ended(program: Program, generation: int) -> bool:
    return any(
        (event["event"], event.get("generation")) == ("generation_ended", generation)
        for event in program.log_events()
    )


def test_no_count_goes_back_or_is_lost_whoever_dies(program: Program, sink: Sink) -> None:
    """Workers and the control process are killed under load, and the file is read again."""
    program.config["delivery"] = {"drain": "3s", "retry": "1s"}
    program.start()
    leader = program.process.pid
    with Watch(program) as watch:
        with under_load(program.ports["open"]) as load:
            for victim in children(leader):
                load.wait_for(20)
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda: len(children(leader)) == 3, "another in its place")
            for generation in range(2):
                load.wait_for(20)
                program.reload()
                wait_until(partial(_has_ended, program, generation), "the end of those before")
        wait_until(lambda: len(arrived(sink)) >= len(load.acknowledged), "all of it")
        seen = watch.scrapes
        wait_until(lambda: watch.scrapes > seen + 1, "another scrape")
    assert watch.scrapes > 30
    assert watch.gone_back == []
    taken = ("filterrelay_messages_total", 'listener="open",verdict="pass"')
    assert len(load.acknowledged) <= watch.last[taken]
    assert watch.last[taken] <= len(load.acknowledged) + len(load.broken)
