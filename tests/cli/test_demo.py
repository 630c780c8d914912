"""The demonstration, as a newcomer runs it."""

import json
import os
import subprocess
import sys


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `filterrelay demo` to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "filterrelay", "demo", *arguments],
        env=os.environ | {"COLUMNS": "150"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_sample_gets_the_verdict_that_the_table_promises() -> None:
    """Accepted, caught, set aside, signed and delivered, with an ID for each."""
    result = demo("--json")
    assert result.returncode == 0, result.stdout + result.stderr
    document = json.loads(result.stdout)
    for message in document["messages"]:
        assert message["verdict"] == message["expected"], message
        assert len(message["id"]) == 17
    passed = [m for m in document["messages"] if m["verdict"] == "pass"]
    assert document["arrived"] == len(passed)
    assert document["signatures_valid"] == len(passed) - 1  # one was spoilt before it came
    assert {m["verdict"] for m in document["messages"]} == {"pass", "reject", "quarantine"}


def test_a_person_reads_a_table_and_where_to_look_next() -> None:
    """The output names what was sent, what arrived, and the next commands."""
    result = demo()
    assert result.returncode == 0, result.stdout + result.stderr
    for word in ("GTUBE", "quarantine", "arrived upstream", "/metrics", "filterrelay init"):
        assert word in result.stdout
    assert not result.stderr
