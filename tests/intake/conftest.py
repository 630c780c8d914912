"""Each test of the intake in a log context of its own."""

from collections.abc import Iterator

import pytest
from structlog.contextvars import clear_contextvars


@pytest.fixture(autouse=True)
def _own_context() -> Iterator[None]:
    """A test is no session: what one binds for its log lines ends with it."""
    clear_contextvars()
    yield
    clear_contextvars()
