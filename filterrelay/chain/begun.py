"""A coroutine that has run up to its first wait: many a plugin's call never comes to one."""

from collections.abc import Coroutine, Generator
from typing import Any


class Begun:
    """A call that was begun at once, by the task that may have to await the rest.

    A time limit around what doesn't wait would cost more than many a call itself.
    waits: whether there is a rest. answer: what it returned, once nothing is left.
    """

    __slots__ = ("_call", "_wait", "answer", "waits")

    def __init__(self, call: Coroutine[Any, Any, Any]) -> None:
        """Runs it; whatever it raises before its first wait is raised here."""
        self._call = call
        self._wait: Any = None  # what it has yielded to the event loop
        self.waits = True
        self.answer: Any = None
        try:
            self._wait = call.send(None)
        except StopIteration as ended:
            self._end(ended)

    def _end(self, ended: StopIteration) -> None:
        self.waits = False
        self.answer = ended.value

    def __await__(self) -> Generator[Any, Any, Any]:
        """The rest of it, as if it had been awaited from the beginning."""
        step = self._call.send
        told: Any = None
        while self.waits:
            try:
                told, step = (yield self._wait), self._call.send
            except BaseException as thrown:  # noqa: BLE001  # a cancellation, on its way in
                told, step = thrown, self._call.throw
            try:
                self._wait = step(told)
            except StopIteration as ended:
                self._end(ended)
            finally:
                told = None  # or an exception and this frame would hold each other, and a message
        return self.answer
