"""From root to the relay's own user."""

import os
import pwd
from pathlib import Path

import pytest

from filterrelay.settings import Filter, Listener, Settings, SpoolSettings
from filterrelay.supervisor.privileges import (
    Account,
    NoSuchUser,
    account_to_become,
    drop_to,
    hand_over,
    owner_of,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.mark.skipif(os.geteuid() == 0, reason="root drops its privileges")
def test_a_user_stays_who_it_is() -> None:
    """Without root there is nothing to drop."""
    assert account_to_become("nobody") is None


@as_root
def test_the_user_must_exist() -> None:
    """Whom the file names; the message says what to do."""
    with pytest.raises(NoSuchUser, match=r"adduser --system .* no-such-user\n.*user = \"root\""):
        account_to_become("no-such-user")
    assert account_to_become("no-such-user", chosen=False) is None  # nobody asked for it


@as_root
def test_root_may_stay_root_when_the_file_says_so() -> None:
    """In a container there may be nobody else."""
    assert account_to_become("root") == Account("root", 0, 0)


@as_root
def test_a_process_becomes_the_user_for_good(tmp_path: Path) -> None:
    """Neither the user nor a group of root's is left, and there is no way back."""
    account = account_to_become("nobody")
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
def test_a_user_without_a_name_has_its_group_alone(tmp_path: Path) -> None:
    """A service manager may invent users that the system's list doesn't have."""
    os.chown(tmp_path, 54321, 54322)
    pid = os.fork()
    if not pid:
        drop_to(owner_of(tmp_path))
        os._exit(0 if (os.getuid(), os.getgid(), os.getgroups()) == (54321, 54322, [54322]) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def settings_for(state_dir: Path) -> Settings:
    """A relay that keeps its things there."""
    return Settings(
        state_dir=state_dir,
        listener=(Listener(kind="smtp", address="127.0.0.1:0"),),
        filter=(Filter(use="spam", name="spam"),),
        spool=SpoolSettings(url=f"sqlite:///{state_dir}/spool.sqlite"),
    )


def owners(*paths: Path) -> set[int]:
    """Whose they are; links are looked at, not followed."""
    return {path.lstat().st_uid for path in paths}


OURS = (
    *("spool.sqlite", "spool.sqlite-wal", "spool.bodies/a/b", "metrics/counter_g0w0.db"),
    *("spam/t", "log.key"),
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that a relay run by root has left."""
    state = tmp_path / "state"
    for name in OURS:
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).touch()
    return state


@as_root
def test_the_state_directory_becomes_the_users_own(state: Path) -> None:
    """With everything that the relay has made in it, plugins included."""
    account = account_to_become("nobody")
    assert account is not None
    hand_over(settings_for(state), account)
    assert owners(state, *state.rglob("*")) == {account.uid}


@as_root
def test_an_empty_state_directory_is_handed_over(tmp_path: Path) -> None:
    """At the first start it is made, private."""
    account = account_to_become("nobody")
    assert account is not None
    hand_over(settings_for(tmp_path / "new"), account)
    assert owners(tmp_path / "new") == {account.uid}
    assert (tmp_path / "new").stat().st_mode & 0o007 == 0


@as_root
def test_what_is_not_the_relay_s_keeps_its_owner(state: Path) -> None:
    """state_dir = "/" would otherwise give the machine away."""
    (state / "etc").mkdir()
    (state / "etc" / "shadow").touch()
    account = account_to_become("nobody")
    assert account is not None
    hand_over(settings_for(state), account)
    assert owners(state, state / "etc", state / "etc" / "shadow") == {0}
    assert owners(*(state / name for name in OURS)) == {account.uid}


@as_root
def test_links_are_not_followed(state: Path, tmp_path: Path) -> None:
    """Who owns the directory can lay them."""
    precious = tmp_path / "precious"
    (precious / "folder").mkdir(parents=True)
    (precious / "file").touch()
    (state / "spam" / "file").symlink_to(precious / "file")
    (state / "spam" / "folder").symlink_to(precious / "folder")
    (state / "spool.sqlite").unlink()
    (state / "spool.sqlite").symlink_to(precious)
    hand_over(settings_for(state), account_to_become("nobody"))
    assert owners(precious, *precious.iterdir()) == {0}
