"""Capacity: how much more can it take, and what gives way first?"""

import pytest

from grafana.boards.capacity import CAPACITY

from .written import panels


@pytest.mark.parametrize(
    "title", ["Open files", "Messages held in memory", "Space left for the spool"]
)
def test_a_limit_is_drawn_beside_what_it_limits(title: str) -> None:
    """The distance is what matters."""
    (panel,) = [panel for panel in panels(CAPACITY) if panel["title"] == title]
    assert panel["targets"][-1]["legendFormat"] == "limit"
    assert "limit" in panel["targets"][-1]["expr"] or "reserve" in panel["targets"][-1]["expr"]


def test_what_runs_out_turns_red_at_the_low_end() -> None:
    """Disk and certificate: little is bad there, much elsewhere."""
    for panel in panels(CAPACITY):
        if panel["type"] == "stat":
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            runs_out = panel["title"] in ("Spool disk free", "Certificate ends in")
            assert (steps[0]["color"] == "red") is runs_out, panel["title"]
