"""Every series is as Prometheus wants it, and its labels are closed lists."""

from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from filterrelay.observe.metrics import Metrics, reply_class

from .install import Install

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
MOST = 2000  # series of a default install, whatever clients do


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


def test_a_default_install_has_so_many_series_and_never_more() -> None:
    """The page says the figures, and ten filters more are no trouble."""
    usual = Install()
    most = usual.series()
    page = " ".join(PAGE.read_text().split())
    assert f"at most {most} series" in page
    for what, larger in (
        ("filter", replace(usual, plugins=usual.plugins + 1)),
        ("listener", replace(usual, listeners=usual.listeners + 1)),
        ("upstream", replace(usual, upstreams=usual.upstreams + 1)),
    ):
        assert f"{larger.series() - most} a further {what}" in page
    assert replace(usual, plugins=usual.plugins + 10).series() < MOST
