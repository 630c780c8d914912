"""Plugins that learn from mail which a person has sorted.

A filter plugin that has the method `learn` is a Learner: `filterrelay learn`
gives it the messages, outside of any running service, so it keeps what it learns
in its state directory and notices there by itself that it has learned.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from filterrelay.mail.message import Message

Kind = Literal["spam", "ham"]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What became of the messages.

    learned: new ones. moved: those learned as the other kind before. known:
    those learned as this kind before, which don't count twice. spam, ham: how
    many messages it knows now. note: what the operator should know, or empty.
    """

    learned: int
    moved: int
    known: int
    spam: int
    ham: int
    note: str = ""


@runtime_checkable
class Learner(Protocol):
    """A plugin instance that can learn."""

    def learn(self, kind: Kind, messages: Iterable[Message], state_dir: Path) -> Lesson:
        """Learns all of the messages or, when an error ends it, none.

        state_dir: the instance's own, which exists. Blocks while another learns there.
        """
        ...
