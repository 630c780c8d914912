"""From root to the relay's own user."""

import os
import pwd
from pathlib import Path

import pytest

from filterrelay.supervisor.privileges import (
    Account,
    NoSuchUser,
    account_to_become,
    drop_to,
    hand_over,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.mark.skipif(os.geteuid() == 0, reason="root drops its privileges")
def test_a_user_stays_who_it_is() -> None:
    """Without root there is nothing to drop."""
    assert account_to_become("nobody", chosen=True) is None


@as_root
def test_the_configured_user_must_exist() -> None:
    """A user that was chosen and is missing stops the start."""
    with pytest.raises(NoSuchUser):
        account_to_become("no-such-user", chosen=True)
    assert account_to_become("no-such-user", chosen=False) is None


@as_root
def test_a_process_becomes_the_user_for_good(tmp_path: Path) -> None:
    """Neither the user nor a group of root's is left, and there is no way back."""
    account = account_to_become("nobody", chosen=True)
    assert account == Account(
        "nobody", pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid
    )
    pid = os.fork()
    if not pid:
        drop_to(account)
        try:
            os.setuid(0)
        except PermissionError:
            os._exit(0 if 0 not in (os.getuid(), os.geteuid(), *os.getgroups()) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@as_root
def test_the_state_directory_becomes_the_users_own(tmp_path: Path) -> None:
    """With everything in it."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "spool.sqlite").touch()
    account = account_to_become("nobody", chosen=True)
    hand_over(state, account)
    assert account is not None
    assert {path.stat().st_uid for path in (state, *state.iterdir())} == {account.uid}
