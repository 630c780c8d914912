"""What a plugin may answer."""

from typing import Any

import pytest

from filterrelay.chain.answers import (
    WrongAnswer,
    as_identity,
    as_route,
    as_signed,
    as_verdict,
)
from filterrelay.mail.edits import AddHeader, RemoveHeader, ReplaceBody
from filterrelay.mail.finding import AuthResult, Finding
from filterrelay.mail.outcome import Route
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Identity
from filterrelay.mail.verdict import Defer, Discard, Pass, Quarantine, Reject
from filterrelay.plugin.testing import a_message

RICH = Finding(
    "pass",
    "it is good",
    score=1.5,
    details=(("rule", "1.5"),),
    auth=(AuthResult("spf", "pass", "because", (("smtp.mailfrom", "office.example"),)),),
)


@pytest.mark.parametrize(
    "answer",
    [
        Pass(RICH, (AddHeader("X", "y"), RemoveHeader("Z"))),
        Reject(Reply(550, "5.7.1", "No"), RICH),
        Defer(Reply(451, "4.7.1", "Later")),
        Quarantine("odd", Finding("odd", score=3)),
        Discard("trap"),
    ],
)
def test_every_verdict_may_be_given(answer: Any) -> None:
    """As it is, whatever finding it carries."""
    assert as_verdict(answer) is answer


def test_no_answer_is_a_pass() -> None:
    """A plugin that returns nothing has nothing against the mail."""
    assert as_verdict(None) == Pass()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("nonsense", "str is no verdict"),
        (Reject(Reply(450, "4.7.1", "Later")), "Reject needs a 5xx reply, not 450"),
        (Defer(Reply(550, "5.7.1", "No")), "Defer needs a 4xx reply, not 550"),
        (Pass(edits=(5,)), "int is no edit"),  # type: ignore[arg-type]  # the fault
        (Pass(edits={}), "edits are a tuple, not dict"),  # type: ignore[arg-type]  # the fault
        (Quarantine("odd", "spam"), "str is no Finding"),  # type: ignore[arg-type]  # the fault
        (Pass(Finding(5)), "a finding's result and text must be text, not int"),  # type: ignore[arg-type]  # the fault
        (Pass(Finding("x", auth=("spf",))), "str is no AuthResult"),  # type: ignore[arg-type]  # the fault
    ],
)
def test_what_is_wrong_is_said_in_words(answer: Any, said: str) -> None:
    """The operator reads in the log what the plugin's author must mend."""
    with pytest.raises(WrongAnswer, match=said):
        as_verdict(answer)


def test_a_signer_edits_the_header_only() -> None:
    """A body changed behind a signature would break it."""
    message = a_message()
    edits, signed = as_signed(message, (AddHeader("DKIM-Signature", "v=1"),))
    assert len(edits) == 1
    assert signed.raw == b"DKIM-Signature: v=1\r\n" + message.raw
    assert as_signed(message, None) == ((), message)
    with pytest.raises(WrongAnswer, match="ReplaceBody"):
        as_signed(message, (ReplaceBody(b"x"),))


def test_an_identity_and_a_route_are_what_they_say() -> None:
    """None means that the plugin doesn't know; anything else than the right type is a mistake."""
    assert as_identity(Identity("anna")) == Identity("anna")
    assert as_route(Route("partner")) == Route("partner")
    assert as_identity(None) is None
    assert as_route(None) is None
    with pytest.raises(WrongAnswer, match="bool is no Identity"):
        as_identity(True)
    with pytest.raises(WrongAnswer, match="str is no Route"):
        as_route("partner")
