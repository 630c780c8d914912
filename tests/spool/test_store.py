"""The face of the spool."""

import inspect

import pytest

from filterrelay.spool import store, values
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.sqlite import SqliteSpool

QUESTIONS = [name for name in vars(store.Spool) if not name.startswith("_")]


def test_it_offers_every_value() -> None:
    """Others import from there alone."""
    made = {name for name, each in vars(values).items() if _is_its_own(each)}
    assert made | {"Spool"} == set(store.__all__)


def _is_its_own(thing: object) -> bool:
    return getattr(thing, "__module__", "") == values.__name__


@pytest.mark.parametrize("kind", [MemorySpool, SqliteSpool])
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_store_is_asked_in_the_same_words(kind: type, name: str) -> None:
    """By name and by default alike."""
    wanted = inspect.signature(getattr(store.Spool, name)).parameters.values()
    found = inspect.signature(getattr(kind, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in found] == [
        (p.name, p.kind, p.default) for p in wanted
    ]
