"""Metrics of several processes add up, and their labels are closed lists."""

import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from filterrelay.observe.metrics import Metrics, reply_class

COUNTING = """
import sys
from pathlib import Path
from filterrelay.observe.metrics import worker_metrics
metrics = worker_metrics(Path(sys.argv[1]), sys.argv[2])
metrics.messages.labels("smtp", "pass").inc(int(sys.argv[3]))
"""
SUMMING = """
import sys
from pathlib import Path
from prometheus_client import generate_latest
from filterrelay.observe.metrics import summed_registry
print(generate_latest(summed_registry(Path(sys.argv[1]))).decode())
"""


def test_workers_counts_add_up_and_outlive_them(tmp_path: Path) -> None:
    """A worker that was started again goes on counting where it stopped."""
    for worker, count in (("w0", "1"), ("w1", "2"), ("w0", "3")):
        subprocess.run([sys.executable, "-c", COUNTING, str(tmp_path), worker, count], check=True)
    text = subprocess.run(
        [sys.executable, "-c", SUMMING, str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout
    assert 'filterrelay_messages_total{listener="smtp",verdict="pass"} 6.0' in text


def test_every_series_has_a_help_text_and_the_prefix() -> None:
    """Prometheus' conventions are kept."""
    text = generate_latest(Metrics(CollectorRegistry()).registry).decode()
    helps = [line for line in text.splitlines() if line.startswith("# HELP")]
    assert len(helps) > 15
    assert all(
        line.split()[2].startswith("filterrelay_") and len(line.split()) > 4 for line in helps
    )


def test_a_reply_code_becomes_one_of_four_labels() -> None:
    """Whatever a far side says, the number of series stays bounded."""
    assert {reply_class(code) for code in range(1000)} == {"2xx", "4xx", "5xx", "none"}
