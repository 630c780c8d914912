"""A plugin that learns is known by its method."""

from collections.abc import Iterable
from pathlib import Path

from filterrelay.mail.message import Message
from filterrelay.plugin.learning import Kind, Learner, Lesson


class Learns:
    """Counts what it is given."""

    def learn(self, kind: Kind, messages: Iterable[Message], state_dir: Path) -> Lesson:
        """Learns."""
        return Lesson(len(list(messages)), 0, 0, 0, 0)


def test_a_plugin_with_the_method_is_a_learner() -> None:
    """`filterrelay learn` finds it without knowing its name."""
    assert isinstance(Learns(), Learner)
    assert not isinstance(object(), Learner)
