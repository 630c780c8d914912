"""What all tests need: grafana/, which no wheel holds, and a word on peers that are missing."""

import sys
from pathlib import Path

import pytest

from .acceptance.peers.presence import require_peers

# Last, so that the installed package comes before the one in the tree.
sys.path.append(str(Path(__file__).parent.parent))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fails or skips a test whose peer is missing."""
    require_peers(item)
