"""Metrics and health of the real program over HTTP."""

import sqlite3

from .conftest import Relay, wait_until


def test_health_and_readiness_are_answered(relay: Relay) -> None:
    """/healthz says that it lives, /readyz that it can take mail, anything else is 404."""
    relay.start()
    assert relay.ask("/healthz") == (200, "alive\n")
    assert relay.ask("/readyz") == (200, "ready\n")
    assert relay.ask("/else")[0] == 404


def test_metrics_come_from_all_processes(relay: Relay) -> None:
    """A worker's connections and the control process's look at the spool in one answer."""
    relay.start()
    relay.greeting()
    status, text = relay.ask("/metrics")
    assert status == 200
    assert 'filterrelay_connections_total{listener="smtp",result="accepted"} 1.0' in text
    assert 'filterrelay_spool_messages{state="queued"} 0.0' in text


def test_a_relay_without_disk_space_is_not_ready(relay: Relay) -> None:
    """It says why, so that a load balancer and a person know."""
    text = relay.configuration.read_text()
    relay.configuration.write_text(f'{text}[spool]\nfree_space = "1000000 GiB"\n')
    try:
        relay.start()
    except AssertionError:
        status, answer = relay.ask("/readyz")
    assert status == 503
    assert "nearly full" in answer


def test_a_damaged_spool_ends_the_start(relay: Relay) -> None:
    """Better no relay than one that can keep nothing."""
    state = relay.directory / "state"
    state.mkdir()
    (state / "spool.sqlite").write_bytes(b"this is no database, it is a text" * 100)
    try:
        relay.start()
    except AssertionError:
        wait_until(relay.exited)
    assert "Traceback" not in relay.log()
    assert relay.process is not None
    assert relay.process.returncode == 1
    assert not isinstance(relay.log(), sqlite3.Error)
