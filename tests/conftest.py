"""What tests all over need: grafana/, which no wheel holds, a word on missing peers, the log."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from .acceptance.peers.presence import require_peers

# Last, so that the installed package comes before the one in the tree.
sys.path.append(str(Path(__file__).parent.parent))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fails or skips a test whose peer is missing."""
    require_peers(item)


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """What a command that is run in this process does to the log ends with the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
