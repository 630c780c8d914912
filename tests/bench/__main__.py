"""Run the benchmark: each relay at each work in turn, round after round."""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.markup import escape

from tests.bench import codec, deep, hanging, measure, passage, report, scrape, signing, targets
from tests.bench.errors import BenchError
from tests.bench.load import LoadProcess
from tests.bench.proof import prove
from tests.bench.relays import RELAYS, FilterRelayFilters, Postfix, Relay
from tests.bench.results import Results
from tests.bench.site import Site, build_site
from tests.bench.stubdns import StubDns
from tests.bench.targets import Target
from tests.bench.works import AUTH, NEW, WORKS, Work

# works with a bench of their own
_PARTS = (hanging.NAME, signing.NAME, passage.NAME, codec.NAME, scrape.NAME)
_WARM_UP = 0.15  # of a work's messages
_QUICK = 0.3  # of a work's messages


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    works: list[Work]
    parts: list[str]  # those of _PARTS that were named
    scale: float
    relays: list[str]
    rounds: int
    json: Path
    memory_peers: bool
    keep: bool
    strict: bool
    deep: int  # messages of a deep queue to measure instead of the works; 0 for the works


class Bench:
    """The relays that run, and what was measured with them."""

    def __init__(self, options: Options, console: Console) -> None:
        self.results = Results()
        self._options = options
        self._console = console
        self._running: dict[str, Relay] = {}

    async def run(self, directory: Path) -> None:
        """All rounds, in a directory of their own."""
        running = asyncio.current_task()
        assert running is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        office = build_site(directory)
        names = StubDns.start(office)
        load = await LoadProcess.start(office.app_dkim.path)
        try:
            for name in self._options.relays:
                self._start(RELAYS[name], office)
            await self._warm_up(load)
            for number in range(1, self._options.rounds + 1):
                for work in self._options.works:
                    if not work.memory_only:
                        await self._turn(work, load, number)
            for work in self._options.works:
                if work.memory_only:  # last: a relay that fails here is measured all the same
                    await self._turn(work, load, 1)
        finally:
            for relay in list(self._running.values()):
                self._stop(relay)
            await load.stop()
            names.stop()

    def _start(self, kind: type[Relay], office: Site) -> None:
        self._console.print(f"starting {kind.title}", highlight=False)
        relay = kind(office)
        self._running[kind.name] = relay
        try:
            relay.start()
            prove(relay)
            relay.open_sink()
        except BenchError as error:
            self._failed(relay, error)

    async def _warm_up(self, load: LoadProcess) -> None:
        """Both doors, so that no relay starts processes or compiles code while it is measured."""
        for relay in list(self._running.values()):
            try:
                for work in (NEW, AUTH):
                    await measure.run(relay, work.scaled(_WARM_UP), load, 0)
            except BenchError as error:
                self._failed(relay, error)

    async def _turn(self, work: Work, load: LoadProcess, number: int) -> None:
        """One work through each relay; the order turns around with each round."""
        order = list(self._running.values())
        if number % 2 == 0:
            order.reverse()
        for relay in order:
            if self._leaves_out(relay, work):
                continue
            try:
                sample = await measure.run(relay, work, load, number)
            except BenchError as error:
                self._failed(relay, error)
                continue
            self.results.samples.append(sample)
            report.print_progress(self._console, sample, relay.title)

    def _leaves_out(self, relay: Relay, work: Work) -> bool:
        """Works that no target compares the relay by."""
        if work.strangers:
            return relay.name not in (Postfix.name, FilterRelayFilters.name)
        return work.memory_only and not relay.ours and not self._options.memory_peers

    def _failed(self, relay: Relay, error: BenchError) -> None:
        """Leave a relay out from here on: what it holds would disturb its later runs."""
        self._console.print(f"[red]{relay.title} failed:[/] {escape(str(error))}", highlight=False)
        self.results.failures.append(f"{relay.title}: {error}")
        self._stop(relay)

    def _stop(self, relay: Relay) -> None:
        self._running.pop(relay.name, None)
        relay.stop()


def _options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument(
        "--works",
        default=",".join((*WORKS, *_PARTS)),
        help="which works, by comma (default: %(default)s)",
    )
    parser.add_argument(
        "--relays", default=",".join(RELAYS), help="which relays, by comma (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--scale", type=float, default=1.0, help="times the messages of each work")
    parser.add_argument("--quick", action="store_true", help="one round of few messages")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument(
        "--memory-peers", action="store_true", help="send the 25 MB messages to the peers, too"
    )
    parser.add_argument("--keep", action="store_true", help="keep the relays' directories and logs")
    parser.add_argument(
        "--deep", type=int, nargs="?", const=deep.DEPTH, default=0, metavar="MESSAGES",
        help="fill a queue while the upstream is down, and drain it (default: %(const)s)",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="exit 1 if a target is not met")
    given = parser.parse_args(arguments)
    works, relays = given.works.split(","), given.relays.split(",")
    for names, known in ((works, [*WORKS, *_PARTS]), (relays, [*RELAYS])):
        if unknown := [name for name in names if name not in known]:
            parser.error(f"{unknown[0]!r} is none of {', '.join(known)}")
    scale = given.scale * (_QUICK if given.quick else 1.0)
    return Options(
        works=[WORKS[name].scaled(scale) for name in works if name in WORKS],
        parts=[name for name in works if name in _PARTS],
        scale=scale,
        relays=relays,
        rounds=1 if given.quick else given.rounds,
        json=given.json,
        memory_peers=given.memory_peers,
        keep=given.keep,
        strict=given.strict,
        deep=given.deep,
    )


def _machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": f"{platform.python_version()} of {sys.base_prefix}",
        "load_before": os.getloadavg()[0],
    }


@contextlib.contextmanager
def _workplace(options: Options, console: Console) -> Iterator[Path]:
    """A directory for the relays, gone in the end unless it is to be kept."""
    # not below the home directory, which Postfix's own user can't enter, nor in memory
    directory = Path(tempfile.mkdtemp(prefix="filterrelay-bench-", dir="/var/tmp"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        if options.keep:
            console.print(f"kept {directory}", highlight=False)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _run_deep(options: Options, console: Console) -> int:
    with _workplace(options, console) as directory:
        depths = uvloop.run(deep.run(directory, options.deep, console))
    judged = depths.targets()
    report.print_targets(console, judged)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"machine": _machine(), "deep": asdict(depths)}, indent=1))
    console.print(f"written to {options.json}", highlight=False)
    return 1 if options.strict and any(one.met is False for one in judged) else 0


def _run_parts(
    options: Options, directory: Path, results: Results, console: Console
) -> list[Target]:
    """What has a bench of its own; what fails there is left out and said."""
    rounds, scale = options.rounds, options.scale
    rates, times, speed = hanging.Rates(), passage.Times(), codec.Speed()
    scrapes = scrape.Scrapes()
    judged: list[Target] = []
    for part in options.parts:
        try:
            match part:
                case hanging.NAME:
                    rates = uvloop.run(hanging.run(directory, rounds, scale, console))
                case signing.NAME:
                    uvloop.run(signing.run(directory, results, rounds, scale, console))
                case passage.NAME:
                    times = uvloop.run(passage.run(directory, scale, console))
                case codec.NAME:
                    speed = codec.measure(rounds)
                case scrape.NAME:
                    scrapes = scrape.measure(directory, console)
        except BenchError as error:
            results.failures.append(f"{part}: {error}")
    if signing.NAME in options.parts:
        judged += signing.targets(results)
    found = {
        hanging.NAME: rates.target(),
        passage.NAME: times.target(),
        codec.NAME: speed.target(),
        scrape.NAME: scrapes.target(),
    }
    return judged + [target for name, target in found.items() if name in options.parts]


def main() -> int:
    """Run, report, and say whether all targets were met."""
    options = _options(sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else 140)
    machine = _machine()
    console.print(machine, highlight=False)
    bench = Bench(options, console)
    judged: list[Target] = []
    try:
        if options.deep:
            return _run_deep(options, console)
        with _workplace(options, console) as directory:
            if options.works:
                uvloop.run(bench.run(directory))
                judged += targets.judge(bench.results, [work.name for work in options.works])
            judged += _run_parts(options, directory, bench.results, console)
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    if options.works:
        titles = {name: RELAYS[name].title for name in options.relays}
        works = [work.name for work in options.works]
        report.print_results(console, bench.results, works, titles, Postfix.name)
    if signing.NAME in options.parts:
        signing.print_results(console, bench.results)
    report.print_targets(console, judged)
    for failure in bench.results.failures:
        console.print(f"[red]failed:[/] {escape(failure)}", highlight=False)
    verdicts = [
        {"target": one.text, "wanted": one.wanted, "measured": one.measured, "met": one.met}
        for one in judged
    ]
    bench.results.write_json(options.json, {"machine": machine, "targets": verdicts})
    console.print(f"written to {options.json}", highlight=False)
    unmet = any(one.met is False for one in judged)
    return 1 if bench.results.failures or (options.strict and unmet) else 0


if __name__ == "__main__":
    sys.exit(main())
