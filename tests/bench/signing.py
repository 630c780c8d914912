"""Milters that sign, in turn behind one Postfix: what each costs, and what Postfix delivers."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tests.bench import measure, proof, report
from tests.bench.errors import BenchError
from tests.bench.instance import Instance
from tests.bench.load import LoadProcess
from tests.bench.milters import MILTERS, FilterRelayMilter, Milter, OpenDkim, Rspamd
from tests.bench.programs import Programs
from tests.bench.results import Results
from tests.bench.sink import Sink
from tests.bench.site import Site, build_site, free_port
from tests.bench.stubdns import StubDns
from tests.bench.targets import Target, compared, cpu, rate
from tests.bench.works import BIG, KEPT, Work

NAME = "milters"
WORKS = (replace(KEPT, messages=1000), replace(BIG, messages=600))
TITLES = {name: milter.title for name, milter in MILTERS.items()}
_COMPARED = (
    ("CPU", OpenDkim, cpu, 1.0, True),
    ("CPU", Rspamd, cpu, 0.5, True),
    ("rate", OpenDkim, rate, 1.0, False),
    ("rate", Rspamd, rate, 1.0, False),
)  # what of, whose, its figure, the bound, whether that is the most or the least
_PROVED = 20  # messages of each size that must arrive with a valid signature
_QUIET_FOR = 20.0  # seconds without a delivery after which that has failed
_WARM_UP = 0.2  # of a work's messages

_MAIN = """\
smtpd_relay_restrictions = permit_mynetworks, reject
milter_default_action = tempfail
"""

_DOOR = """\
127.0.0.1:{port} inet n - n - - smtpd
  -o smtpd_milters=unix:{socket}
"""


def targets(results: Results) -> list[Target]:
    """What is promised of filterrelay as a milter."""
    judged = []
    for work, (what, peer, figure, bound, at_most) in product(WORKS, _COMPARED):
        ratio = results.ratio(figure, FilterRelayMilter.name, peer.name, work.name)
        text = f"milter, {work.title}: {what} of {peer.title}'s"
        judged.append(compared(text, ratio, bound, at_most=at_most))
    return judged


def print_results(console: Console, results: Results) -> None:
    """The milters' table."""
    works = [work.name for work in WORKS]
    report.print_results(console, results, works, TITLES, OpenDkim.name)


async def run(
    directory: Path, results: Results, rounds: int, scale: float, console: Console
) -> None:
    """All rounds, in a directory of their own; what came of them goes to results."""
    below = directory / NAME
    below.mkdir(mode=0o755)
    office = build_site(below)
    names = StubDns.start(office)
    try:
        await _Bench(office, results, console).run(rounds, [one.scaled(scale) for one in WORKS])
    finally:
        names.stop()


class _Front(Programs):
    """Postfix, with a door for each milter."""

    def __init__(self, office: Site) -> None:
        super().__init__("milters-postfix", "Postfix", office.directory / "postfix")
        self._instance = Instance(self.directory)
        self.sink_port = free_port()

    def start(self, milters: list[Milter]) -> None:
        """Start it, once the milters are there."""
        doors = [_DOOR.format(port=one.port, socket=one.socket) for one in milters]
        self._instance.configure(self.sink_port, _MAIN, "".join(doors))
        self.spawn(self._instance.command)
        for milter in milters:
            self.await_greeting(milter.port)

    def stop(self) -> None:
        """Have Postfix end its own processes."""
        self._instance.stop()
        super().stop()


class _Bench:
    """The milters that run, and Postfix in front of them."""

    def __init__(self, office: Site, results: Results, console: Console) -> None:
        self._office = office
        self._results = results
        self._console = console
        self._front = _Front(office)
        self._running: list[Milter] = []

    async def run(self, rounds: int, works: list[Work]) -> None:
        """Start and prove all, then measure each in turn."""
        load = await LoadProcess.start(self._office.app_dkim.path)
        try:
            for kind in MILTERS.values():
                self._start(kind(self._office))
            self._front.start(self._running)
            for milter in list(self._running):
                with self._without_failed(milter):
                    await self._prove(milter, load)
            sink = Sink.start(self._front.sink_port)
            try:
                await self._measure(rounds, works, sink, load)
            finally:
                sink.stop()
        finally:
            for milter in self._running:
                milter.stop()
            self._front.stop()
            await load.stop()

    def _start(self, milter: Milter) -> None:
        self._console.print(f"starting {milter.title} as a milter", highlight=False)
        self._running.append(milter)
        with self._without_failed(milter):
            milter.start()

    async def _prove(self, milter: Milter, load: LoadProcess) -> None:
        """Send mail into a sink that keeps it, and verify each message."""
        kept = milter.directory / "proof"
        sink = Sink.start(self._front.sink_port, kept)
        try:
            for work in WORKS:
                few = replace(work, messages=_PROVED)
                await measure.send(milter, few, load, 0)
            await sink.reach(_PROVED * len(WORKS), _QUIET_FOR)
        finally:
            sink.stop()
        proof.check_signed(kept, self._office, milter.title, milter.log)

    async def _measure(self, rounds: int, works: list[Work], sink: Sink, load: LoadProcess) -> None:
        """Each work through each milter; the order turns around with each round."""
        for milter, work in product(list(self._running), works):
            milter.sink = sink
            with self._without_failed(milter):
                await measure.run(milter, work.scaled(_WARM_UP), load, 0)
        for number, work in product(range(1, rounds + 1), works):
            order = self._running if number % 2 else self._running[::-1]
            for milter in list(order):
                with self._without_failed(milter):
                    sample = await measure.run(milter, work, load, number)
                    self._results.samples.append(sample)
                    report.print_progress(self._console, sample, milter.title)

    @contextlib.contextmanager
    def _without_failed(self, milter: Milter) -> Iterator[None]:
        """Leave a milter out from here on if this fails."""
        try:
            yield
        except BenchError as error:
            self._console.print(
                f"[red]{milter.title} failed:[/] {escape(str(error))}", highlight=False
            )
            self._results.failures.append(f"{milter.title} as a milter: {error}")
            self._running.remove(milter)
            milter.stop()
