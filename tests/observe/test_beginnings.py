"""What is there before anything was counted."""

from filterrelay.observe.beginnings import OUTCOMES, begin_listener, begin_upstreams
from filterrelay.observe.metrics import ATTEMPT_RESULTS, REPLY_CLASSES, STAGES, VERDICTS, Metrics


def samples(metrics: Metrics, name: str) -> list[float]:
    """The values of all series of that name."""
    return [
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    ]


def test_a_listeners_messages_begin_at_nothing() -> None:
    """The first one that is put off counts as an increase."""
    metrics = Metrics()
    begin_listener(metrics, "submission")
    assert samples(metrics, "filterrelay_messages_total") == [0.0] * len(VERDICTS)
    assert samples(metrics, "filterrelay_recipients_total") == [0.0]


def test_an_upstreams_failures_begin_at_nothing() -> None:
    """The first bounce does, too."""
    metrics = Metrics()
    begin_upstreams(metrics, ["provider", "mx"])
    assert samples(metrics, "filterrelay_deliveries_total") == [0.0] * 2 * len(OUTCOMES)
    assert samples(metrics, "filterrelay_attempt_failures_total") == [0.0] * 2 * len(STAGES)
    for result, reply in OUTCOMES:
        assert result in ATTEMPT_RESULTS
        assert reply in REPLY_CLASSES
