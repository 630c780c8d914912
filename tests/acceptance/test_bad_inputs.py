"""Whatever comes in at the door: it is borne or refused properly, and the door stays open.

All cases are played at once against one running door, each on a connection and
from a client address of its own, each with a normal message behind it that must
arrive. FILTERRELAY_DOOR=postfix plays them against Postfix, for comparison.
"""

import asyncio
from collections.abc import Iterator

import pytest

from .bad_inputs.case import Case
from .bad_inputs.catalogue import ALL
from .bad_inputs.doors import open_doors, wants_postfix
from .bad_inputs.play import Result, check_arrivals, play_all
from .peers.certificates import Certificates
from .peers.process import wait_until
from .peers.sink import run_sink

# Which case is being tested decides what the fixture plays: all of a run, and no others.
pytestmark = [pytest.mark.peer("postfix"), pytest.mark.peer("dovecot")] if wants_postfix() else []


@pytest.fixture(scope="module")
def results(
    request: pytest.FixtureRequest, certificates: Certificates
) -> Iterator[dict[str, Result]]:
    """What became of every case that this run has chosen."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = {item.callspec.id for item in items if hasattr(item, "callspec")}
    cases = [case for case in ALL if case.name in chosen]
    with run_sink() as sink:
        with open_doors(certificates, sink) as door:
            played = asyncio.run(play_all(cases, door.ports))
            wait_until(door.is_empty, "an empty queue", 60)
        check_arrivals(cases, played, sink)
        yield {case.name: result for case, result in zip(cases, played, strict=True)}
        commands = [frown for frown in sink.frowns if "in a message" not in frown]
        assert commands == [], "the commands that reached the upstream must be clean"


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_bad_input_is_borne_or_refused(case: Case, results: dict[str, Result]) -> None:
    """The replies are proper, nothing is smuggled, nothing acknowledged is lost, the next goes."""
    result = results[case.name]
    assert not result.faults, "\n".join([*result.faults, "", *result.said[-30:]])


def test_there_are_hundreds_of_them_and_no_two_alike() -> None:
    """A family of cases that came out the same would only seem to be a test."""
    assert len(ALL) >= 300
    assert len({(case.steps, case.door, case.hello, case.ending) for case in ALL}) == len(ALL)
    assert len({case.name for case in ALL}) == len(ALL)
