"""What filterrelay has to keep, and whether it did."""

from dataclasses import dataclass

from tests.bench.measure import Sample
from tests.bench.relays import FilterRelay, FilterRelayFilters, Haraka, Postfix
from tests.bench.results import Results
from tests.bench.works import HUGE, MIB, WORKS

CPU_OF_POSTFIX = 0.6
RATE_OF_POSTFIX = 1.5
CPU_OF_POSTFIX_WITH_FILTERS = 1.0
MEMORY = 250 * MIB
IN_FLIGHT_MEMORY = 256 * MIB  # limits.in_flight_memory, its default
MEMORY_WITH_HUGE = MEMORY + 2 * IN_FLIGHT_MEMORY


@dataclass(frozen=True, slots=True)
class Target:
    """One thing promised. met: None if it wasn't measured."""

    text: str
    wanted: str
    measured: str
    met: bool | None


def rate(sample: Sample) -> float:
    """Messages delivered a second."""
    return sample.rate


def cpu(sample: Sample) -> float:
    """CPU seconds per 1,000 messages."""
    return sample.cpu_per_thousand


def judge(results: Results, works: list[str]) -> list[Target]:
    """Each target, for the works that were run."""
    targets: list[Target] = []
    plain, filters = FilterRelay.name, FilterRelayFilters.name
    throughput = [name for name in works if not WORKS[name].memory_only]
    for work in throughput:
        title = WORKS[work].title
        if WORKS[work].strangers:
            ratio = results.ratio(cpu, filters, Postfix.name, work)
            text = f"{title}: with filters: CPU of Postfix+OpenDKIM's"
            targets.append(compared(text, ratio, CPU_OF_POSTFIX_WITH_FILTERS, at_most=True))
            continue
        for text, figure, relay, peer, bound, at_most in (
            ("CPU of Postfix+OpenDKIM's", cpu, plain, Postfix.name, CPU_OF_POSTFIX, True),
            ("rate of Postfix+OpenDKIM's", rate, plain, Postfix.name, RATE_OF_POSTFIX, False),
            ("CPU of Haraka's", cpu, plain, Haraka.name, 1.0, True),
            ("rate of Haraka's", rate, plain, Haraka.name, 1.0, False),
            (
                "with filters: CPU of Postfix+OpenDKIM's",
                cpu,
                filters,
                Postfix.name,
                CPU_OF_POSTFIX_WITH_FILTERS,
                True,
            ),
        ):
            ratio = results.ratio(figure, relay, peer, work)
            targets.append(compared(f"{title}: {text}", ratio, bound, at_most=at_most))
    for relay, title in ((plain, "without filters"), (filters, "with filters")):
        peak = results.peak_memory(relay, throughput)
        targets.append(_memory(f"memory {title}, all works", peak, MEMORY))
        if HUGE.name in works:
            peak = results.peak_memory(relay, [HUGE.name])
            targets.append(_memory(f"memory {title}, {HUGE.title}", peak, MEMORY_WITH_HUGE))
    return targets


def compared(text: str, ratio: float | None, bound: float, *, at_most: bool) -> Target:
    """The target that a ratio stays on its side of the bound."""
    wanted = f"{'≤' if at_most else '≥'} {bound:.1f}"
    if ratio is None:
        return Target(text, wanted, "not measured", None)
    met = ratio <= bound if at_most else ratio >= bound
    return Target(text, wanted, f"{ratio:.2f}", met)


def _memory(text: str, peak: int | None, bound: int) -> Target:
    wanted = f"< {bound // MIB} MiB"
    if peak is None:
        return Target(text, wanted, "not measured", None)
    return Target(text, wanted, f"{peak / MIB:.0f} MiB", peak < bound)
