"""`filterrelay user`: the local accounts in the user file."""

import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    command,
    load_settings,
    print_json,
    refuse,
    relay_account,
    safe,
)
from filterrelay.errors import FilterRelayError
from filterrelay.mail.user_file import (
    User,
    UserFile,
    check_login,
    parse_senders,
    read_user_file,
)
from filterrelay.supervisor.privileges import Account

_SHORTEST = 8  # characters of a good password, NIST SP 800-63B section 5.1.1.2

app = command("Manage local accounts: who may log in, and what they may send as.")

LoginArgument = Annotated[str, typer.Argument(metavar="LOGIN", help="The account's name.")]
SendersOption = Annotated[
    str | None,
    typer.Option(
        "--senders",
        metavar="PATTERNS",
        help="What it may send as beside itself: 'sales@office.example,*@shop.example'.",
    ),
]


@dataclass
class NoSuchUser(FilterRelayError):
    """There is no such account."""

    login: str

    def __str__(self) -> str:
        return f"there is no account {self.login}"


@dataclass
class NoUserFile(FilterRelayError):
    """The configuration has no user file: no [[auth]] section reads one."""

    config: Path

    def __str__(self) -> str:
        return f"{self.config} has no [[auth]] section with a user file"


@app.command()
def add(
    login: LoginArgument,
    senders: SendersOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an account, or give an old one a new password.

    The password is asked for twice, or read from standard input when that is no terminal.
    """
    check_login(login)
    patterns = None if senders is None else parse_senders(senders)
    file = user_file(config)
    password = _hash(_ask_password())
    with edited(file) as edit:
        old = edit.users.users.get(login)
        user = replace(old, password=password) if old else User(login, password)
        if patterns is not None:
            user = replace(user, senders=patterns)
        edit.users = edit.users.with_user(user)
    _report("changed" if old else "added", login, file, as_json=as_json)


@app.command()
def remove(login: LoginArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Remove an account."""
    file = user_file(config)
    with edited(file) as edit:
        _existing(edit.users, login)
        edit.users = edit.users.without(login)
    _report("removed", login, file, as_json=as_json)


@app.command("list")
def list_users(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the accounts."""
    users = read(user_file(config).path).users.values()
    if as_json:
        print_json(
            [{"login": u.login, "senders": list(u.senders), "frozen": u.frozen} for u in users]
        )
        return
    width = max((len(user.login) for user in users), default=0)
    for user in users:
        state = "frozen" if user.frozen else "active"
        print(safe(f"{user.login:{width}}  {state}  {', '.join(user.senders)}".rstrip()))


@app.command()
def freeze(login: LoginArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Shut an account out, its open sessions too, without removing it."""
    file = _set_frozen(login, config, frozen=True)
    _report("froze", login, file, as_json=as_json)


@app.command()
def thaw(login: LoginArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Let a frozen account in again."""
    file = _set_frozen(login, config, frozen=False)
    _report("thawed", login, file, as_json=as_json)


def _set_frozen(login: str, config: Path | None, *, frozen: bool) -> "Place":
    file = user_file(config)
    with edited(file) as edit:
        user = _existing(edit.users, login)
        edit.users = edit.users.with_user(replace(user, frozen=frozen))
    return file


def _report(done: str, login: str, file: "Place", *, as_json: bool) -> None:
    """Says what was done to the account. done: as `removed`."""
    if as_json:
        print_json({done: login, "file": file.path})
    else:
        print(safe(f"{done} {login} in {file.path}"))


def _existing(users: UserFile, login: str) -> User:
    try:
        return users.users[login]
    except KeyError:
        raise NoSuchUser(login) from None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the user file is, and whose it becomes when root makes it."""

    path: Path
    account: Account | None = None


def user_file(config: Path | None) -> Place:
    """The user file of the configuration: that of its first [[auth]] plugin that keeps one.

    A plugin says so with the class attribute `user_file_option`, the name of its
    option that holds the path. Raises NoUserFile.
    """
    from filterrelay.plugin.discovery import plugin_class
    from filterrelay.plugin.options import resolve_path

    settings = load_settings(config)
    for use in settings.auth:
        option = getattr(plugin_class(use.use), "user_file_option", "")
        if option and isinstance(path := use.options.get(option), str):
            return Place(resolve_path(settings.base_dir, path), relay_account(settings))
    raise NoUserFile(settings.source.file)


def read(file: Path) -> UserFile:
    """The user file's accounts; none when it isn't there yet. Raises BadUserFile, OSError."""
    try:
        return read_user_file(file)
    except FileNotFoundError:
        return UserFile()


@dataclass
class Edit:
    """A user file under change: what is in `users` when the block ends is written."""

    users: UserFile


@contextmanager
def edited(file: Place) -> Iterator[Edit]:
    """The user file, locked against other editors and replaced in one step at the end."""
    lock = os.open(file.path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        edit = Edit(read(file.path))
        before = edit.users
        yield edit
        if edit.users != before:
            _replace(file, str(edit.users))
    finally:
        os.close(lock)


def _replace(file: Place, text: str) -> None:
    """Writes the file anew, durably and readable for its owner and group as before, or 0600."""
    handle, name = tempfile.mkstemp(dir=file.path.parent, prefix=f".{file.path.name}-")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            _set_owner(file, stream.fileno())
            os.fsync(stream.fileno())
        fresh.replace(file.path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _set_owner(file: Place, handle: int) -> None:
    """The old file's owner or the relay, so that root's edit doesn't lock the relay out."""
    os.fchmod(handle, 0o600)
    try:
        old = file.path.stat()
    except FileNotFoundError:
        if file.account is not None:
            os.fchown(handle, file.account.uid, file.account.gid)
        return
    if os.geteuid() == 0:
        os.fchown(handle, old.st_uid, old.st_gid)


def _ask_password() -> str:
    """The password: asked for twice at a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
        if not password:
            refuse("no password came on standard input", Exit.USAGE)
    if len(password) < _SHORTEST:
        typer.echo(f"warning: the password has fewer than {_SHORTEST} characters", err=True)
    return password


def _hash(password: str) -> str:
    """The password as the file keeps it: argon2id by RFC 9106's second recommendation."""
    from argon2 import PasswordHasher

    return "{ARGON2ID}" + PasswordHasher().hash(password)
