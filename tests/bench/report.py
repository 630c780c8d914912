"""The tables that a reader sees at the end."""

from rich.console import Console
from rich.table import Table

from tests.bench.measure import Sample
from tests.bench.results import Results
from tests.bench.targets import Target
from tests.bench.works import MIB, WORKS


def print_progress(console: Console, sample: Sample, title: str) -> None:
    """One line a run, as it ends. title: the relay's."""
    console.print(
        f"  round {sample.round}  {WORKS[sample.work].title:<28} {title:<22}"
        f" {sample.rate:7.1f} msg/s  {sample.cpu_per_thousand:6.2f} CPU s/1000"
        f"  p99 {sample.reply_quantile(0.99) * 1000:7.1f} ms"
        f"  {sample.peak_memory / MIB:5.0f} MiB"
        + (f"  {sample.deferrals} deferred" if sample.deferrals else ""),
        highlight=False,
    )


def print_results(
    console: Console, results: Results, works: list[str], titles: dict[str, str], peer: str
) -> None:
    """The medians, with each relay's ratio to one of them. titles: of the relays, by name."""
    table = Table(title=f"Medians of the rounds; × is of {titles.get(peer, peer)}, round by round")
    table.add_column("work")
    table.add_column("relay")
    for heading in ("msg/s", "×", "CPU s/1000", "×", "reply p50 ms", "p99 ms", "memory MiB"):
        table.add_column(heading, justify="right")
    for work in works:
        for relay, title in titles.items():
            summary = results.summary(relay, work)
            if summary is None:
                continue
            rate = results.ratio(lambda one: one.rate, relay, peer, work)
            cpu = results.ratio(lambda one: one.cpu_per_thousand, relay, peer, work)
            table.add_row(
                WORKS[work].title,
                title,
                f"{summary.rate:.0f}",
                "" if rate is None else f"{rate:.2f}",
                f"{summary.cpu_per_thousand:.2f}",
                "" if cpu is None else f"{cpu:.2f}",
                f"{summary.reply_p50 * 1000:.1f}",
                f"{summary.reply_p99 * 1000:.1f}",
                f"{summary.peak_memory / MIB:.0f}",
            )
        table.add_section()
    console.print(table)


def print_targets(console: Console, targets: list[Target]) -> None:
    """Each target, and whether it was met."""
    table = Table(title="Targets")
    table.add_column("target")
    for heading in ("wanted", "measured"):
        table.add_column(heading, justify="right")
    table.add_column("")
    words = {True: "[green]met[/]", False: "[red]not met[/]", None: "[yellow]not measured[/]"}
    for target in targets:
        table.add_row(target.text, target.wanted, target.measured, words[target.met])
    console.print(table)
