"""Senders: who sends, who is refused, and who tries to get in."""

from grafana.boards.senders import SENDERS

from .written import panels


def test_logins_are_told_from_a_bounded_list_alone() -> None:
    """A series for each login would have no end."""
    for panel in panels(SENDERS):
        for target in panel["targets"]:
            assert "login)" not in target["expr"] or "filterrelay_top_login" in target["expr"]


def test_doors_are_told_apart() -> None:
    """Whose mail it is: that of printers, of people or of another server."""
    by_listener = [
        panel["title"]
        for panel in panels(SENDERS)
        if any("by (listener" in target["expr"] for target in panel["targets"])
    ]
    assert len(by_listener) >= 8
