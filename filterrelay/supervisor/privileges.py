"""From root to the relay's own user, for good."""

import contextlib
import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filterrelay.errors import FilterRelayError
from filterrelay.settings import Settings
from filterrelay.settings.log import KEY

_SQLITE = "sqlite:///"


@dataclass
class NoSuchUser(FilterRelayError):
    """The user to become doesn't exist."""

    user: str

    def __str__(self) -> str:
        return (
            f"started as root, and there is no user {self.user} to become: make it with\n"
            f"  adduser --system --group --home /var/lib/filterrelay {self.user}\n"
            'or write user = "NAME" into the configuration file; user = "root" stays root'
        )


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the system, by number. name: empty when the system knows none."""

    name: str
    uid: int
    gid: int


def account_to_become(user: str, *, chosen: bool = True) -> Account | None:
    """Whom a process started as root shall be; None when it isn't root, or must stay it.

    chosen: the configuration names the user, so that it must exist. Raises NoSuchUser.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        if not chosen:
            return None
        raise NoSuchUser(user) from None
    return Account(user, entry.pw_uid, entry.pw_gid)


def account_of(settings: Settings) -> Account | None:
    """Whom the configuration has root become. Raises NoSuchUser."""
    return account_to_become(settings.user, chosen="user" in settings.model_fields_set)


def owner_of(path: Path) -> Account:
    """Whose it is. Raises OSError."""
    status = path.stat()
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        return Account("", status.st_uid, status.st_gid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def drop_to(account: Account) -> None:
    """Becomes that user with its groups; there is no way back."""
    os.setgid(account.gid)
    if account.name:
        os.initgroups(account.name, account.gid)
    else:
        os.setgroups([account.gid])
    os.setuid(account.uid)


def hand_over(settings: Settings, account: Account | None) -> None:
    """Makes the state directory, private, and gives the user what the relay has made in it.

    Nothing else: root may have named a directory by mistake.
    """
    directory = settings.state_dir
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    if account is None:
        return
    ours = set(_names(settings))
    there = {path.name for path in directory.iterdir()}
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if there <= ours:
            os.fchown(top, account.uid, account.gid)
        for name in ours & there:
            _give(name, top, account)
            for _, folders, files, here in os.fwalk(name, dir_fd=top):
                for inner in (*folders, *files):
                    _give(inner, here, account)
    finally:
        os.close(top)


def _names(settings: Settings) -> Iterable[str]:
    """What the relay makes in its state directory."""
    yield from ("lock", "metrics", KEY)
    for uses in (settings.auth, settings.filter, settings.signer, settings.observer):
        yield from (use.name for use in uses)
    spool = Path(settings.spool.url.removeprefix(_SQLITE))
    if settings.spool.url.startswith(_SQLITE) and spool.parent == settings.state_dir:
        yield from (spool.name + end for end in ("", "-wal", "-shm", "-journal", ".lock"))
        yield spool.with_suffix(".bodies").name


def _give(name: str, folder: int, account: Account) -> None:
    """Changes the owner of an entry, never of what a link leads to."""
    with contextlib.suppress(FileNotFoundError):  # a relay at work removes what it doesn't need
        if os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid != account.uid:
            os.chown(name, account.uid, account.gid, dir_fd=folder, follow_symlinks=False)
