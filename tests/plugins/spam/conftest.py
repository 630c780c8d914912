"""Fixtures of the spam filter's tests: readings of messages, and the corpus."""

import os
from datetime import UTC, datetime
from typing import Protocol

import pytest
from filterrelay_plugins.spam.reading import Reading, read

from filterrelay.plugin.testing import a_message

from .corpus import Sorted, archive, sorted_messages

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Reader(Protocol):
    """Reads a message made as by the test kit's a_message."""

    def __call__(self, content: str | bytes = "Hello.\n", **headers: str) -> Reading:
        """The reading."""


@pytest.fixture
def reading() -> Reader:
    """Reads a message that came on 2 January 2026."""

    def read_now(content: str | bytes = "Hello.\n", **headers: str) -> Reading:
        return read(a_message(content, **headers), NOW)

    return read_now


@pytest.fixture(scope="session")
def corpus() -> list[Sorted]:
    """The public corpus; without it a failure in CI, elsewhere a skip."""
    if not archive().is_file():
        reason = f"no corpus at {archive()}: run tests/plugins/spam/fetch-corpus"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return list(sorted_messages())
