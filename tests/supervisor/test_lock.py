"""Two relays never share a state directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from filterrelay.supervisor import lock
from filterrelay.supervisor.lock import AlreadyRunning, is_running, state_lock

HOLD = """
import sys
from pathlib import Path
from filterrelay.supervisor.lock import state_lock
with state_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_relay_is_refused(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits a while for a predecessor that is finishing, then says so."""
    monkeypatch.setattr(lock, "WAIT", 0.0)
    with pytest.raises(AlreadyRunning), state_lock(tmp_path):
        pass
    holder.communicate()


def test_the_lock_of_a_killed_relay_is_free(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """kill -9 leaves nothing that must be cleaned up by hand."""
    holder.kill()
    holder.communicate()
    with state_lock(tmp_path):
        pass


def test_it_can_be_asked_whether_a_relay_runs(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    """Without taking its place."""
    assert is_running(tmp_path)
    holder.communicate()
    assert not is_running(tmp_path)
    assert not is_running(tmp_path / "new")
    assert not (tmp_path / "new").exists()
