"""What happens when a program of another project, that a test needs, is missing."""

import os

import pytest

from .acceptance.peers.presence import why_missing


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A missing peer is a failure in CI, where all are installed, and elsewhere a skip."""
    for marker in item.iter_markers("peer"):
        for name in marker.args:
            reason = why_missing(name)
            if reason and os.environ.get("CI", "").lower() == "true":
                pytest.fail(f"needs {name}: {reason}", pytrace=False)
            if reason:
                pytest.skip(f"needs {name}: {reason}")
