"""How an attempt met the far side."""

from filterrelay.delivery.contact import Stage
from filterrelay.observe.metrics import STAGES


def test_every_stage_is_a_label() -> None:
    """The list beside the metric is the whole list."""
    assert tuple(stage.value for stage in Stage) == STAGES
