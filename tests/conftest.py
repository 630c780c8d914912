"""What happens when a program of another project, that a test needs, is missing."""

import pytest

from .acceptance.peers.presence import require_peers


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fails or skips a test whose peer is missing."""
    require_peers(item)
