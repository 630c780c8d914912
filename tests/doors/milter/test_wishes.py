"""A mail server tells no more than the plugins need."""

from filterrelay.doors.milter.wishes import wishes
from filterrelay.wire.milter import Action, Stage, Step

EARLY = frozenset({"on_connect", "on_helo", "on_sender", "on_recipient"})
QUIET = Step.QUIET_CONNECT | Step.QUIET_HELO | Step.QUIET_MAIL | Step.QUIET_RCPT
WITHOUT = Step.NO_BODY | Step.NO_HEADERS


def test_steps_that_nobody_judges_get_no_reply() -> None:
    """Each would cost the mail server a round trip."""
    assert wishes(frozenset(), "body").steps & QUIET == QUIET
    assert not wishes(EARLY, "body").steps & QUIET
    assert wishes(frozenset({"on_sender"}), "body").steps & QUIET == QUIET & ~Step.QUIET_MAIL


def test_what_nobody_reads_is_not_sent() -> None:
    """First the body, then the header."""
    assert not wishes(EARLY, "body").steps & WITHOUT
    assert wishes(EARLY, "header").steps & WITHOUT == Step.NO_BODY
    assert wishes(EARLY, None).steps & WITHOUT == WITHOUT


def test_every_edit_may_be_needed() -> None:
    """Macros are asked for at those stages alone where they are read."""
    asked = wishes(EARLY, "body")
    assert asked.actions == Action(sum(Action)) & ~Action.SET_SYMBOLS
    assert set(asked.macros) == {Stage.CONNECT, Stage.HELO, Stage.MAIL, Stage.END_OF_MESSAGE}
