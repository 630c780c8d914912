"""From root to the relay's own user, for good."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from filterrelay.errors import FilterRelayError


@dataclass
class NoSuchUser(FilterRelayError):
    """The user to become doesn't exist."""

    user: str


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the system, by number."""

    name: str
    uid: int
    gid: int


def account_to_become(user: str, *, chosen: bool) -> Account | None:
    """Whom a process started as root shall be; None when it isn't root or none exists.

    chosen: the configuration names the user, so that it must exist. Raises NoSuchUser.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        if chosen:
            raise NoSuchUser(user) from None
        return None
    return Account(user, entry.pw_uid, entry.pw_gid)


def drop_to(account: Account) -> None:
    """Becomes that user with its groups; there is no way back."""
    os.setgid(account.gid)
    os.initgroups(account.name, account.gid)
    os.setuid(account.uid)


def hand_over(directory: Path, account: Account | None) -> None:
    """Makes the state directory, private and the user's own."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    if account is None:
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
