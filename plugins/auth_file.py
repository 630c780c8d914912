"""Logins against a file of accounts: ours, htpasswd's or Dovecot's."""

import asyncio
import hmac
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import argon2
from pydantic import Field

from filterrelay.mail.user_file import BadUserFile, User, read_user_file
from filterrelay.plugin import Credentials, Duration, Identity, Options, Services, hook
from filterrelay.plugin.options import resolve_path

_AT_ONCE = 2  # password hashes computed at once; each may take 0.1 s of CPU and 64 MiB
_BCRYPT_OCTETS = 72  # bcrypt reads no more of a password


class AuthFileOptions(Options):
    """What `auth-file` can be told."""

    path: Path
    """The file: lines of `login:{ARGON2ID}…`, of htpasswd or of Dovecot's passwd-file."""
    remember: Duration = Field(timedelta(minutes=5), ge=timedelta(0))
    """How long a password that was right needn't be hashed again; `"0s"` for never."""


class AuthFile:
    """Checks logins against a file of accounts.

    The file is read again when it changes. It may hold argon2id hashes, as
    `filterrelay user` writes them, and what htpasswd and Dovecot write: {SHA},
    {SSHA}, {SSHA256}, {SSHA512}, {MD5-CRYPT}, {SHA256-CRYPT}, {SHA512-CRYPT},
    {BLF-CRYPT}, {CRYPT}, {PLAIN}, and the bare forms $apr1$, $1$, $5$, $6$, $2y$.
    An unknown login takes as long to refuse as a known one. Passwords that were
    right are remembered for some minutes as keyed hashes, in memory only.
    """

    options_type = AuthFileOptions
    user_file_option = "path"

    def __init__(self, options: AuthFileOptions) -> None:
        """Reads nothing yet."""
        self._options = options
        self._accounts = _Accounts()
        self._version: tuple[int, ...] = ()
        self._unread: tuple[int, ...] = ()  # the version that could not be read
        self._remembered: dict[str, tuple[bytes, float]] = {}
        self._key = os.urandom(32)
        self._hashing = asyncio.Semaphore(_AT_ONCE)
        self._reading = asyncio.Lock()

    @hook
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncIterator[None]:
        """Reads the file a first time; it must be there and readable."""
        self._services = services
        self._path = resolve_path(services.base_dir, self._options.path)
        self._version = self._stat()
        await self._read()
        yield
        self._remembered.clear()

    @hook
    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """The account whose password this is."""
        await self._follow_file()
        account = self._accounts.users.get(credentials.login)
        if account is not None and self._is_remembered(credentials):
            right = True
        else:
            right = await self._is_right(credentials)
        if account is None or not right:
            return None
        return self._identity(account)

    @hook
    async def reconfirm(self, identity: Identity) -> Identity | None:
        """The account as the file has it now; nobody once it is gone or has a new password."""
        await self._follow_file()
        account = self._accounts.users.get(identity.login)
        now = self._identity(account) if account is not None else None
        return now if now is not None and now.stamp == identity.stamp else None

    def _identity(self, account: User) -> Identity:
        stamp = self._keyed(account.password).hex()
        return Identity(account.login, account.senders, frozen=account.frozen, stamp=stamp)

    async def probe(self) -> str:
        """How many accounts there are. Raises UserWarning when nobody can log in."""
        accounts = self._accounts
        able = sum(not accounts.users[login].frozen for login in accounts.checks)
        text = f"{len(accounts.users)} accounts, {able} can log in"
        if not able:
            raise UserWarning(f"{text}: `filterrelay user add LOGIN` lets somebody in")
        return text

    async def _is_right(self, credentials: Credentials) -> bool:
        """Hashes the password: against a stand-in when the login is unknown."""
        accounts = self._accounts
        check = accounts.checks.get(credentials.login, accounts.stand_in)
        if check is None:
            return False
        async with self._hashing:
            if self._is_remembered(credentials):  # by a session that came just before
                return True
            right = await self._services.in_thread(check.fits, credentials.password)
        right = right and credentials.login in accounts.checks
        if right and accounts is self._accounts:
            until = self._services.clock.monotonic() + self._options.remember.total_seconds()
            self._remembered[credentials.login] = (self._digest(credentials), until)
        return right

    def _is_remembered(self, credentials: Credentials) -> bool:
        digest, until = self._remembered.get(credentials.login, (b"", 0.0))
        return self._services.clock.monotonic() < until and hmac.compare_digest(
            digest, self._digest(credentials)
        )

    def _digest(self, credentials: Credentials) -> bytes:
        return self._keyed(f"{credentials.login}\0{credentials.password}")

    def _keyed(self, secret: str) -> bytes:
        octets = secret.encode("utf-8", "surrogatepass")
        return blake2b(octets, key=self._key, digest_size=32).digest()

    def _stat(self) -> tuple[int, ...]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    async def _follow_file(self) -> None:
        """Reads the file again when it has changed; a broken one changes nothing.

        Nobody goes on with what it said before while somebody reads it. One that couldn't be
        read is read again at the next look. Raises OSError when it is gone.
        """
        async with self._reading:
            version = self._stat()
            if version == self._version:
                return
            try:
                await self._read()
            except (BadUserFile, OSError) as error:
                if version != self._unread:
                    self._services.log.error(
                        "user_file_not_read", path=str(self._path), reason=str(error)
                    )
                self._unread = version
            else:
                self._version = version

    async def _read(self) -> None:
        self._accounts = await self._services.in_thread(_read_accounts, self._path)
        self._remembered.clear()
        for login, reason in self._accounts.unusable.items():
            self._services.log.warning("account_not_usable", login=login, reason=reason)


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """How to tell one account's password. scheme: what it was hashed with."""

    scheme: str
    fits: Callable[[str], bool] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Accounts:
    """What the file says.

    checks: by login. stand_in: what unknown logins are checked against, of the
    file's usual scheme so that they take as long. unusable: logins whose hash
    nobody can check, with the reason.
    """

    users: Mapping[str, User] = field(default_factory=dict)
    checks: Mapping[str, PasswordCheck] = field(default_factory=dict)
    stand_in: PasswordCheck | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)


def _read_accounts(path: Path) -> _Accounts:
    """The file's accounts. Raises BadUserFile and OSError."""
    users = read_user_file(path).users
    checks: dict[str, PasswordCheck] = {}
    unusable: dict[str, str] = {}
    for login, user in users.items():
        try:
            checks[login] = check_for(user.password)
        except ValueError as error:
            unusable[login] = str(error) or "its hash is damaged"
    by_scheme = {check.scheme: check for check in checks.values()}
    usual = Counter(check.scheme for check in checks.values()).most_common(1)
    stand_in = by_scheme[usual[0][0]] if usual else None
    return _Accounts(users, checks, stand_in, unusable)


_HANDLERS = {  # passlib's names by Dovecot's and htpasswd's
    "SHA": "ldap_sha1",
    "SSHA": "ldap_salted_sha1",
    "SSHA256": "ldap_salted_sha256",
    "SSHA512": "ldap_salted_sha512",
    "MD5-CRYPT": "md5_crypt",
    "SHA256-CRYPT": "sha256_crypt",
    "SHA512-CRYPT": "sha512_crypt",
    "BLF-CRYPT": "bcrypt",
    "$apr1$": "apr_md5_crypt",
    "$1$": "md5_crypt",
    "$5$": "sha256_crypt",
    "$6$": "sha512_crypt",
    "$2a$": "bcrypt",
    "$2b$": "bcrypt",
    "$2y$": "bcrypt",
}
_KEPT_BRACES = ("SHA", "SSHA", "SSHA256", "SSHA512")  # passlib reads these hashes with their scheme
_MARK = re.compile(r"\$[a-z0-9]+\$")


def check_for(stored: str) -> PasswordCheck:
    """How to tell the password of which this is stored.

    Raises ValueError, which shows nothing of it, when nobody can.
    """
    scheme, bare = "", stored
    if stored.startswith("{"):
        scheme, _, bare = stored[1:].partition("}")
        scheme = scheme.upper()
    if scheme in ("PLAIN", "CLEARTEXT"):
        return PasswordCheck("plain", partial(_fits_plain, bare.encode()))
    if bare.startswith("$argon2"):
        argon2.extract_parameters(bare)
        return PasswordCheck("argon2", partial(_fits_argon2, bare))
    mark = _MARK.match(bare)
    kind = mark.group() if mark and scheme in ("", "CRYPT") else scheme
    if kind not in _HANDLERS:
        raise ValueError(f"nobody here can check the scheme {kind or 'of its password'}")
    name = _HANDLERS[kind]
    handler = getattr(passlib_hashes(), name)
    hashed = f"{{{scheme}}}{bare}" if scheme in _KEPT_BRACES else bare
    handler.from_string(hashed)
    return PasswordCheck(name, partial(_fits_hash, handler, hashed))


def passlib_hashes() -> Any:
    """passlib's hashes, imported when a file needs one: it takes 0.2 s."""
    from passlib import hash as hashes

    return hashes


def _fits_plain(stored: bytes, password: str) -> bool:
    return hmac.compare_digest(stored, password.encode())


def _fits_argon2(hashed: str, password: str) -> bool:
    try:
        return argon2.PasswordHasher().verify(hashed, password)
    except argon2.exceptions.VerifyMismatchError:
        return False


def _fits_hash(handler: Any, hashed: str, password: str) -> bool:
    octets = password.encode()
    if handler.name == "bcrypt":
        octets = octets[:_BCRYPT_OCTETS]
    try:
        return bool(handler.verify(octets, hashed))
    except ValueError:  # a password that the scheme can't hash, such as one with a NUL
        return False
