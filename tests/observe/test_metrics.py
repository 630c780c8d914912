"""Every series is as Prometheus wants it, and its labels are closed lists."""

from prometheus_client import CollectorRegistry, generate_latest

from filterrelay.observe.metrics import Metrics, reply_class


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
