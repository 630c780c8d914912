"""Delivery: does mail leave, how fast, how safely, and if not, where does it stop?"""

from grafana.boards.delivery import DELIVERY

from .written import panels


def test_everything_is_about_the_chosen_upstreams() -> None:
    """But for reports and the lists of destinations, which have no upstream."""
    others = [
        panel["title"]
        for panel in panels(DELIVERY)
        if not any("$upstream" in target["expr"] for target in panel["targets"])
    ]
    assert others == [
        "Reports in an hour, by kind",
        "Destinations of the last hour",
    ]
