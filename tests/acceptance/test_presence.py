"""A missing peer fails CI, where it would hide that nothing was tested, and is a skip elsewhere."""

import pytest

from .peers import process
from .peers.presence import require_peers, why_missing


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no program is found."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(process, "_SBIN", "/nowhere")


@pytest.mark.usefixtures("bare_machine")
def test_in_ci_it_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The message names the peer and what installs it."""
    monkeypatch.setenv("CI", "true")
    request.node.add_marker(pytest.mark.peer("clamd"))
    with pytest.raises(pytest.fail.Exception, match=r"needs clamd: .*install-peers"):
        require_peers(request.node)


@pytest.mark.usefixtures("bare_machine")
def test_elsewhere_it_is_a_skip(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The reason says the same."""
    monkeypatch.delenv("CI", raising=False)
    request.node.add_marker(pytest.mark.peer("swaks"))
    with pytest.raises(pytest.skip.Exception, match=r"needs swaks: .*install-peers"):
        require_peers(request.node)


def test_a_misspelt_peer_is_an_error() -> None:
    """Otherwise its tests would run without it, or never."""
    with pytest.raises(ValueError, match="postfix"):
        why_missing("postfixx")
