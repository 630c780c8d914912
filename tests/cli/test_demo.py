"""The demonstration, as a newcomer runs it."""

import json
import os
import re
import signal
import smtplib
import subprocess
import sys
import urllib.request

import pytest


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
    for word in ("GTUBE", "quarantine", "arrived upstream", "/metrics", "filterrelay init DIR"):
        assert word in result.stdout
    assert "-m filterrelay demo --stay" in result.stdout
    assert "/tmp/" not in result.stdout.replace(sys.executable, "")  # it is gone already
    assert not result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_it_stays_it_can_be_looked_at_and_sent_mail(number: signal.Signals) -> None:
    """The addresses that it prints answer, and Ctrl-C or `kill` ends it, all of it."""
    command = [sys.executable, "-P", "-m", "filterrelay", "demo", "--stay"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            lines = list(iter(running.stdout.readline, "Mail of your own:\n"))
            where = running.stdout.readline()
            assert "Ctrl-C ends it" in "".join(lines)
            metrics = next(line.split()[1] for line in lines if line.startswith("  metrics "))
            with urllib.request.urlopen(metrics, timeout=10) as answer:
                assert b"filterrelay_messages_total" in answer.read()
            found = re.fullmatch(
                r"  SMTP on (\S+):(\d+), STARTTLS, login (\S+), password (\S+)\n", where
            )
            assert found
            with smtplib.SMTP(found[1], int(found[2]), timeout=10) as client:
                client.starttls()
                client.login(found[3], found[4])
                client.sendmail(
                    found[3], ["bob@partner.example"], "Subject: Hello\r\n\r\nHello.\r\n"
                )
            running.send_signal(number)
            assert running.wait(timeout=30) == 0
            with pytest.raises(OSError, match="refused"):
                urllib.request.urlopen(metrics, timeout=10)
        finally:
            running.kill()
