"""The test kit as pytest fixtures, found through pytest's own entry point."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from filterrelay.plugin.testing import FakeClock, FakeResolver, running


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still until told to go on."""
    return FakeClock()


@pytest.fixture
def fake_resolver() -> FakeResolver:
    """A DNS without records."""
    return FakeResolver()


@pytest.fixture
def running_plugin() -> Callable[..., AbstractAsyncContextManager[Any]]:
    """`running` of the test kit."""
    return running
