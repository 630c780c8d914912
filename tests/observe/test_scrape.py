# mypy: allow-untyped-calls
# (prometheus_client's part for several processes, and its parser, have no types)
"""What a scraper is told, in either of two formats."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from filterrelay.observe.metrics import no_notes
from filterrelay.observe.notes import Notes, notes_file, save
from filterrelay.observe.scrape import Summed, encoder
from filterrelay.plugin.testing import SOME_TIME as NOW
from filterrelay.plugin.testing import FakeClock

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize("accept", [PROMETHEUS_2, PROMETHEUS_3, "Application/OpenMetrics-Text"])
def test_who_asks_for_openmetrics_gets_it(accept: str) -> None:
    """In the version that we speak."""
    assert encoder(accept)[1] == CONTENT_TYPE_LATEST


@pytest.mark.parametrize(
    "accept",
    [
        *("", "*/*", "text/plain", "text/html, */*;q=0.8", ";;,,=;q", "a/b;q=x"),
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=0.4, text/plain;q=0.5",
    ],
)
def test_others_get_plain_text(accept: str) -> None:
    """People, old scrapers, and those who want what we don't speak."""
    assert encoder(accept)[1] == CONTENT_TYPE_PLAIN_0_0_4


def write(directory: Path, process: str, sample: str, labels: dict[str, str]) -> None:
    """Has a process observe something once. sample: of a histogram."""
    kept = MmapedDict(str(directory / f"histogram_{process}.db"))
    key = mmap_key(sample.rpartition("_")[0], sample, list(labels), list(labels.values()), "Help.")
    kept.write_value(key, 1.0, 0.0)
    kept.close()


def scraped(directory: Path, accept: str = "", top: int = 1) -> str:
    """What a scrape of the files there says."""
    registry = CollectorRegistry()
    registry.register(Summed(directory, FakeClock(), top))
    return encoder(accept)[0](registry).decode()


def note(directory: Path, process: str, *logins: str) -> Notes:
    """Notes of messages from these logins, saved."""
    notes = no_notes()
    for login in logins:
        notes.message(login, "pass", NOW)
        notes.accepted.note("smtp", f"ID-{process}-{login}", 0.02, NOW)
        notes.delivered.note("provider", f"ID-{process}-{login}", 400.0, NOW)
    save(notes_file(directory, process), notes.text())
    return notes


def test_buckets_tell_a_message_in_openmetrics_alone(tmp_path: Path) -> None:
    """By which to find the trace of one that took so long."""
    for bound in ("0.01", "0.025", "+Inf"):
        write(
            tmp_path, "w0", "filterrelay_accept_seconds_bucket", {"listener": "smtp", "le": bound}
        )
    write(tmp_path, "w0", "filterrelay_accept_seconds_sum", {"listener": "smtp"})
    for bound in ("300.0", "+Inf"):
        labels = {"upstream": "provider", "le": bound}
        write(tmp_path, "w1", "filterrelay_delivery_seconds_bucket", labels)
    write(tmp_path, "w1", "filterrelay_delivery_seconds_sum", {"upstream": "provider"})
    note(tmp_path, "w0", "ann")
    told = {
        (sample.name, sample.labels["le"]): sample.exemplar
        for family in text_string_to_metric_families(scraped(tmp_path, PROMETHEUS_2))
        for sample in family.samples
        if sample.exemplar
    }
    assert set(told) == {
        ("filterrelay_accept_seconds_bucket", "0.025"),
        ("filterrelay_delivery_seconds_bucket", "+Inf"),
    }
    exemplar = told["filterrelay_accept_seconds_bucket", "0.025"]
    assert exemplar.labels == {"message_id": "ID-w0-ann"}
    assert (exemplar.value, float(exemplar.timestamp)) == (0.02, NOW.timestamp())
    assert scraped(tmp_path, PROMETHEUS_2).endswith("# EOF\n")
    assert "ID-" not in scraped(tmp_path)


def test_the_lists_of_all_processes_are_one(tmp_path: Path) -> None:
    """Whoever counts most over all of them is named, if anybody may be."""
    note(tmp_path, "w0", "ann", "ann", "bob")
    note(tmp_path, "w1", "bob", "bob", "eve")
    lines = scraped(tmp_path).splitlines()
    series = "filterrelay_top_login_messages"
    assert f'{series}{{login="bob",outcome="accepted"}} 3.0' in lines
    assert f'{series}{{login="other",outcome="accepted"}} 3.0' in lines
    nameless = scraped(tmp_path, top=0)
    assert f'{series}{{login="other",outcome="accepted"}} 6.0' in nameless
    assert "bob" not in nameless


def test_a_login_of_odd_characters_spoils_no_scrape(tmp_path: Path) -> None:
    """Quotation marks, ends of lines, and what can't be encoded."""
    note(tmp_path, "w0", '"\n\\\udc80é')
    assert 'login="\\"\\n\\\\?é"' in scraped(tmp_path)


def test_a_file_that_has_nothing_in_it_yet_is_no_error(tmp_path: Path) -> None:
    """A worker that starts has made it, and not written to it."""
    (tmp_path / "counter_w0.db").touch()
    assert "filterrelay_top_login_messages" in scraped(tmp_path)
