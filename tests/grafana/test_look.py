"""Colours and words mean the same everywhere."""

from filterrelay.observe import metrics
from grafana import look


def test_every_word_for_what_became_of_mail_has_a_colour() -> None:
    """Good is green, late is amber, refused is red, set aside is purple."""
    for listed in (metrics.STEP_RESULTS, metrics.ATTEMPT_RESULTS, metrics.LOGIN_RESULTS):
        assert set(listed) <= look.COLOURS.keys()
    assert look.COLOURS["pass"] == look.COLOURS["delivered"] == look.GREEN
    assert look.COLOURS["defer"] == look.COLOURS["deferred"] == look.AMBER
    assert look.COLOURS["reject"] == look.COLOURS["bounced"] == look.RED
    assert look.COLOURS["quarantine"] == look.PURPLE


def test_levels_begin_with_a_colour_for_all_below() -> None:
    """Grafana's first step has no value."""
    steps = look.steps([(5, look.RED)]).build().steps
    assert [(step.value, step.color) for step in steps] == [(None, "green"), (5, "red")]


def test_words_stand_for_values_and_for_none() -> None:
    """As Grafana writes mappings."""
    assert look.value(1, "YES", look.GREEN).to_json()["type"] == "value"
    assert look.between(0, 1, "SOME", look.AMBER).to_json()["type"] == "range"
    assert look.nothing("NO DATA").to_json()["type"] == "special"
    assert look.words({"firing": look.RED}).to_json()["type"] == "value"
