"""The lock on the state directory: two relays never share one."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import structlog

from filterrelay.errors import FilterRelayError

log = structlog.get_logger(__name__)

ORPHANS_END = 20.0  # seconds within which the children of a supervisor that was killed are gone
WAIT = 1.5 * ORPHANS_END


@dataclass
class AlreadyRunning(FilterRelayError):
    """Another filterrelay works in this state directory."""

    state_dir: Path


def is_running(state_dir: Path) -> bool:
    """Whether a filterrelay works there; taken for granted when this user may not look."""
    try:
        lock = os.open(state_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def state_lock(state_dir: Path) -> Iterator[None]:
    """Holds the lock; forked children hold it too, until the last of them ends.

    Raises AlreadyRunning when it doesn't come free.
    """
    state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline, waited = monotonic() + WAIT, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() > deadline:
                    raise AlreadyRunning(state_dir) from None
                if not waited:
                    log.warning("waiting_for_predecessor", path=str(state_dir))
                    waited = True
                sleep(0.2)
        yield
    finally:
        os.close(lock)
