"""Fixtures of the spam filter's tests: readings of messages, and the corpus."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from filterrelay_plugins.spam.reading import Reading, read

from filterrelay.plugin.testing import a_message

from .corpus import Sorted, archive, sorted_messages

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def reading() -> Callable[..., Reading]:
    """Reads a message made as by the test kit's a_message."""
    return lambda content="Hello.\n", **headers: read(a_message(content, **headers), NOW)


@pytest.fixture(scope="session")
def corpus() -> list[Sorted]:
    """The public corpus; without it a failure in CI, elsewhere a skip."""
    if not archive().is_file():
        reason = f"no corpus at {archive()}: run tests/plugins/spam/fetch-corpus"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return list(sorted_messages())
