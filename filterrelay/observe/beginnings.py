"""Series that are there before anything was counted.

Prometheus sees no increase in a series whose first sample is already 1: the first bounce, or
the first failure of a filter, would be none. What can occur is therefore set to 0 at the start.
"""

from collections.abc import Iterable

from filterrelay.observe.metrics import STAGES, VERDICTS, Metrics

OUTCOMES = (  # of a recipient's attempt, with the class of the reply
    *(("delivered", "2xx"), ("deferred", "4xx"), ("deferred", "none")),
    *(("bounced", "5xx"), ("bounced", "none")),
)


def begin_listener(metrics: Metrics, listener: str) -> None:
    """Of a listener by this name."""
    for verdict in VERDICTS:
        metrics.messages.labels(listener, verdict)
    metrics.recipients.labels(listener)


def begin_upstreams(metrics: Metrics, upstreams: Iterable[str]) -> None:
    """Of upstreams by these names; `mx` is direct delivery."""
    for upstream in upstreams:
        for outcome in OUTCOMES:
            metrics.deliveries.labels(upstream, *outcome)
        for stage in STAGES:
            metrics.attempt_failures.labels(upstream, stage)
