"""What a plugin may answer, looked at before anything is made of it.

Types are checked here because a plugin's mistake must end at its own step: a
wrong value that travels on fails where nobody can tell whose it was.
"""

from typing import Any

from filterrelay.mail.edits import AddHeader, ChangeHeader, Edit, RemoveHeader, edit_message
from filterrelay.mail.finding import AuthResult, Finding
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import Route
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Identity
from filterrelay.mail.verdict import Defer, Discard, Pass, Quarantine, Reject, Verdict

_SEQUENCES = (tuple, list)  # a union would be made anew at each look
_NUMBERS = (int, float)


class WrongAnswer(Exception):
    """The answer may not be given; the text says why."""


def as_verdict(answer: Any) -> Verdict:
    """The answer as a verdict; None means to pass. Raises WrongAnswer."""
    match answer:
        case None:
            return Pass()
        case Pass(_, edits):
            if edits != ():
                _check_edits(edits)
        case Reject(reply):
            if not _check_reply(reply).is_permanent:
                raise WrongAnswer(f"Reject needs a 5xx reply, not {reply.code}")
        case Defer(reply):
            if not _check_reply(reply).is_temporary:
                raise WrongAnswer(f"Defer needs a 4xx reply, not {reply.code}")
        case Quarantine(reason) | Discard(reason):
            _check_texts("a reason", reason)
        case _:
            raise WrongAnswer(f"{_kind(answer)} is no verdict")
    if answer.finding is not None:
        _check_finding(answer.finding)
    verdict: Verdict = answer
    return verdict


def as_identity(answer: Any) -> Identity | None:
    """Who `authenticate` or `reconfirm` says it is. Raises WrongAnswer."""
    if answer is not None and not isinstance(answer, Identity):
        raise WrongAnswer(f"{_kind(answer)} is no Identity")
    return answer


def as_route(answer: Any) -> Route | None:
    """Where `route` leads. Raises WrongAnswer."""
    if answer is not None and not isinstance(answer, Route):
        raise WrongAnswer(f"{_kind(answer)} is no Route")
    return answer


def as_nothing(_: Any) -> None:
    """What an observer returns tells nothing."""


def as_signed(message: Message, answer: Any) -> tuple[tuple[Edit, ...], Message]:
    """What `sign` answers, and the message with it. Raises WrongAnswer.

    Header edits only: a body changed behind a signature breaks it.
    """
    if answer is None:
        return (), message
    for edit in _check_edits(answer):
        if not isinstance(edit, AddHeader | ChangeHeader | RemoveHeader):
            raise WrongAnswer(f"a signer edits the header only; {_kind(edit)} is something else")
    return tuple(answer), edit_message(message, answer)


def _check_edits(edits: Any) -> tuple[Edit, ...] | list[Edit]:
    if not isinstance(edits, _SEQUENCES):
        raise WrongAnswer(f"edits are a tuple, not {_kind(edits)}")
    for edit in edits:
        if not isinstance(edit, Edit):
            raise WrongAnswer(f"{_kind(edit)} is no edit")
    return edits


def _check_reply(reply: Any) -> Reply:
    if not isinstance(reply, Reply):
        raise WrongAnswer(f"{_kind(reply)} is no Reply")
    _check_texts("a reply's enhanced code and text", reply.enhanced, reply.text)
    return reply


def _check_finding(finding: Any) -> None:
    if not isinstance(finding, Finding):
        raise WrongAnswer(f"{_kind(finding)} is no Finding")
    _check_texts("a finding's result and text", finding.result, finding.text)
    if finding.score is not None and not isinstance(finding.score, _NUMBERS):
        raise WrongAnswer(f"a finding's score is a number, not {_kind(finding.score)}")
    _check_pairs("a finding's details", finding.details)
    for result in finding.auth:
        if not isinstance(result, AuthResult):
            raise WrongAnswer(f"{_kind(result)} is no AuthResult")
        _check_texts("an AuthResult's words", result.method, result.result, result.reason)
        _check_pairs("an AuthResult's properties", result.properties)


def _check_texts(what: str, *values: Any) -> None:
    for value in values:
        if not isinstance(value, str):
            raise WrongAnswer(f"{what} must be text, not {_kind(value)}")


def _check_pairs(what: str, pairs: Any) -> None:
    for pair in pairs:
        if not (
            isinstance(pair, _SEQUENCES)
            and len(pair) == 2
            and isinstance(pair[0], str)
            and isinstance(pair[1], str)
        ):
            raise WrongAnswer(f"{what} are pairs of texts, not {pair!r:.80}")


def _kind(value: Any) -> str:
    return type(value).__name__
