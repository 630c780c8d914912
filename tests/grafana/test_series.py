"""What the dashboards know of a series is what the program means by it."""

import pytest
from prometheus_client import Counter, Histogram

from filterrelay.observe.metrics import LOGIN_RESULTS, STEP_RESULTS, TOP_WAITING, VERDICTS
from filterrelay.spool.values import State
from grafana import series
from grafana.series import M, Metric

from . import rules


def test_a_words_list_depends_on_its_series() -> None:
    """`result` and `verdict` are words of several."""
    assert series.words(M.logins, "result") == LOGIN_RESULTS
    assert series.words(M.messages, "verdict") == VERDICTS
    assert series.words(M.plugin_verdicts, "verdict") == STEP_RESULTS
    assert series.words(M.messages, "listener") == ()


def test_the_spools_states_are_the_programs() -> None:
    """They stand here a second time, since values of the spool are none of the metrics'."""
    assert tuple(state.value for state in State) == series.SPOOL_STATES
    assert set(series.QUEUE_STATES) < set(series.SPOOL_STATES)


def test_every_closed_label_has_its_words() -> None:
    """All other labels are names that the user or the far side gave."""
    open_labels = {"listener", "plugin", "upstream", "domain", "selector", "login", "destination"}
    metrics = [each for each in vars(M).values() if isinstance(each, Counter)]
    unknown = {
        (series.of(metric).name, label)
        for metric in metrics
        for label in series.of(metric).labels
        if label not in open_labels and not series.words(metric, label)
    }
    assert unknown == set()


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        (M.messages, "messages"),
        (M.message_bytes, "bytes"),
        (M.accept_seconds, "s"),
        (M.memory, "bytes"),
        (M.hosts_down, "hosts"),
        (TOP_WAITING, "messages"),
    ],
)
def test_a_unit_follows_from_the_name(metric: Metric, unit: str) -> None:
    """As Prometheus' conventions put it there; what is counted comes last."""
    assert series.unit(metric) == unit


def test_single_messages_are_known_for_histograms_alone() -> None:
    """A counter has no exemplars here."""
    assert all(isinstance(metric, Histogram) for metric in series.EXEMPLARS)


def test_what_is_recorded_is_so_by_the_rules() -> None:
    """A panel on a name that no rule writes would be empty for ever."""
    assert {one.name for one in series.RECORDED} <= rules.RECORDED.keys()
