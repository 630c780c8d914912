"""The user file: one account a line, kept by `filterrelay user`, read by whoever checks logins.

    # a comment
    alice@office.example:{ARGON2ID}$argon2id$v=19$…
    printer:{ARGON2ID}$argon2id$v=19$…:senders=scan@office.example,*@shop.example
    bob@office.example:{ARGON2ID}$argon2id$v=19$…:frozen

The login and the password's hash, then what else there is to say of the account:
`senders=` lists the addresses it may send as beside its own, `frozen` shuts it
out. Lines of htpasswd and of Dovecot's passwd-file are read too; their further
fields mean nothing here and are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from filterrelay.errors import FilterRelayError
from filterrelay.mail.address import AddressPattern

_FROZEN = "frozen"
_SENDERS = "senders="


@dataclass
class BadUserFile(FilterRelayError):
    """A line of the user file can't be read."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line} of the user file: {self.reason}"


@dataclass
class BadLogin(FilterRelayError):
    """The name can't be a login."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class User:
    """One account.

    password: the hash with its scheme, as `{ARGON2ID}$argon2id$…` or htpasswd's
    bare `$apr1$…`. senders: address patterns. other: further fields, kept as
    they are.
    """

    login: str
    password: str = field(repr=False)
    senders: tuple[str, ...] = ()
    frozen: bool = False
    other: tuple[str, ...] = ()

    def __str__(self) -> str:
        fields = [self.login, self.password, *self.other]
        if self.senders:
            fields.append(_SENDERS + ",".join(self.senders))
        if self.frozen:
            fields.append(_FROZEN)
        return ":".join(fields)


def check_login(login: str) -> str:
    """The login, if it can be one. Raises BadLogin."""
    if not login:
        raise BadLogin("a login can't be empty")
    if ":" in login or login.startswith("#") or any(c.isspace() or c < " " for c in login):
        raise BadLogin(f"{login!r} can't be a login: it has a colon, a blank or a leading #")
    return login


def parse_senders(text: str) -> tuple[str, ...]:
    """The address patterns written with commas between. Raises BadLogin."""
    patterns = tuple(part.strip() for part in text.split(",") if part.strip())
    for pattern in patterns:
        if ":" in pattern:
            raise BadLogin(f"{pattern!r} can't be in the user file: it has a colon")
        try:
            AddressPattern(pattern)
        except ValueError as error:
            raise BadLogin(str(error)) from None
    return patterns


@dataclass(frozen=True)
class UserFile:
    """The accounts of one file, with its comments kept where they stand."""

    lines: tuple[User | str, ...] = ()

    @property
    def users(self) -> Mapping[str, User]:
        """The accounts by login; of two with one login the first counts."""
        users: dict[str, User] = {}
        for line in self.lines:
            if isinstance(line, User):
                users.setdefault(line.login, line)
        return users

    def with_user(self, user: User) -> "UserFile":
        """The file with that account in the place of the one it replaces, or at the end."""
        if user.login not in self.users:
            return replace(self, lines=(*self.lines, user))
        return replace(
            self,
            lines=tuple(user if _is_of(line, user.login) else line for line in self.lines),
        )

    def without(self, login: str) -> "UserFile":
        """The file without that account."""
        return replace(self, lines=tuple(line for line in self.lines if not _is_of(line, login)))

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def _is_of(line: User | str, login: str) -> bool:
    return isinstance(line, User) and line.login == login


def parse_user_file(text: str) -> UserFile:
    """The file's accounts. Raises BadUserFile, which shows no hash."""
    return UserFile(
        tuple(_parse_line(number, line) for number, line in enumerate(text.splitlines(), 1))
    )


def read_user_file(path: Path) -> UserFile:
    """The accounts of the file at that path. Raises BadUserFile and OSError."""
    content = path.read_bytes()
    try:
        return parse_user_file(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadUserFile(line, "it is not UTF-8 text") from None


def _parse_line(number: int, line: str) -> User | str:
    if not line.strip() or line.lstrip().startswith("#"):
        return line
    login, colon, rest = line.partition(":")
    password, *fields = rest.split(":")
    if not colon or not login.strip() or not password:
        raise BadUserFile(number, "there must be a login, a colon and a password's hash")
    senders: tuple[str, ...] = ()
    for one in fields:
        if one.startswith(_SENDERS):
            senders = tuple(part.strip() for part in one[len(_SENDERS) :].split(",") if part)
    return User(
        login=login.strip(),
        password=password.strip(),
        senders=senders,
        frozen=_FROZEN in fields,
        other=tuple(one for one in fields if one != _FROZEN and not one.startswith(_SENDERS)),
    )
