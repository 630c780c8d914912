"""Logins against a file of accounts."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import argon2
import bcrypt
import pytest
from filterrelay_plugins import auth_file
from structlog.testing import capture_logs

from filterrelay.plugin import Credentials, Identity
from filterrelay.plugin.testing import FakeClock, running

QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def stored(password: str) -> str:
    """An argon2id hash that costs little."""
    return "{ARGON2ID}" + QUICK.hash(password)


def credentials(login: str, password: str) -> Credentials:
    """What a client shows."""
    return Credentials("PLAIN", login, password)


class Accounts:
    """A user file that can be rewritten."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "users"
        self._age = 0

    def write(self, lines: Mapping[str, str]) -> None:
        """Writes the lines `login:rest`, with a new modification time."""
        self.path.write_text("".join(f"{login}:{rest}\n" for login, rest in lines.items()))
        self._age += 1
        os.utime(self.path, (self._age, self._age))


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    """A directory for a user file."""
    return Accounts(tmp_path)


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that passwords were checked against."""
    seen: list[str] = []
    real = argon2.PasswordHasher.verify

    def verify(self: argon2.PasswordHasher, hashed: str, password: str) -> bool:
        seen.append(hashed)
        return real(self, hashed, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    return seen


async def test_the_right_password_lets_in_with_its_senders(accounts: Accounts) -> None:
    """The login, and what else it may send as."""
    accounts.write({"alice": stored("sesame") + ":senders=sales@office.example,*@shop.example"})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        found = await plugin.authenticate(credentials("alice", "sesame"))
    assert found == Identity("alice", ("sales@office.example", "*@shop.example"))


@pytest.mark.parametrize(
    ("login", "password"),
    [("alice", "wrong"), ("alice", ""), ("alice", "sesame\0"), ("bob", "sesame"), ("", "")],
)
async def test_a_wrong_password_or_login_lets_nobody_in(
    accounts: Accounts, login: str, password: str
) -> None:
    """Neither a known login with another password, nor another login with a known password."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        assert await plugin.authenticate(credentials(login, password)) is None


async def test_a_frozen_account_stays_out(accounts: Accounts) -> None:
    """The right password tells that it is frozen, and a wrong one nothing."""
    accounts.write({"alice": stored("sesame") + ":frozen"})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        found = await plugin.authenticate(credentials("alice", "sesame"))
        assert await plugin.authenticate(credentials("alice", "guess")) is None
    assert found is not None
    assert found.frozen


async def test_an_unknown_login_costs_a_hashing_too(
    accounts: Accounts, hashings: list[str]
) -> None:
    """The time of the answer doesn't tell which logins there are."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        await plugin.authenticate(credentials("mallory", "guess"))
    assert len(hashings) == 1


async def test_a_password_that_was_right_is_hashed_once(
    accounts: Accounts, hashings: list[str]
) -> None:
    """A client that logs in for each message doesn't cost a tenth of a second each time."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        for _ in range(3):
            assert await plugin.authenticate(credentials("alice", "sesame"))
    assert len(hashings) == 1


async def test_sessions_that_come_together_share_one_hashing(
    accounts: Accounts, hashings: list[str]
) -> None:
    """Twenty connections of one application don't cost twenty times 0.1 s of CPU."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        logins = [plugin.authenticate(credentials("alice", "sesame")) for _ in range(20)]
        assert all(await asyncio.gather(*logins))
    assert len(hashings) <= 2


async def test_a_wrong_password_is_never_remembered(
    accounts: Accounts, hashings: list[str]
) -> None:
    """Guesses cost their full price each."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        assert await plugin.authenticate(credentials("alice", "sesame"))
        for _ in range(3):
            assert await plugin.authenticate(credentials("alice", "guess")) is None
    assert len(hashings) == 4


async def test_a_remembered_password_is_forgotten_after_minutes(
    accounts: Accounts, hashings: list[str], fake_clock: FakeClock
) -> None:
    """Five minutes when the file of options says nothing else."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", clock=fake_clock, path=str(accounts.path)) as plugin:
        await plugin.authenticate(credentials("alice", "sesame"))
        fake_clock.advance(timedelta(minutes=5))
        await plugin.authenticate(credentials("alice", "sesame"))
    assert len(hashings) == 2


async def test_a_new_password_counts_at_once(accounts: Accounts) -> None:
    """When the file changes, the old password is no longer remembered."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        assert await plugin.authenticate(credentials("alice", "sesame"))
        accounts.write({"alice": stored("changed")})
        assert await plugin.authenticate(credentials("alice", "sesame")) is None
        assert await plugin.authenticate(credentials("alice", "changed"))


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("{kept}", Identity("alice")),
        ("{kept}:senders=b@office.example", Identity("alice", ("b@office.example",))),
        ("{kept}:frozen", Identity("alice", frozen=True)),
        ("{new}", None),
        ("", None),
    ],
    ids=["as it was", "other senders", "frozen", "a new password", "removed"],
)
async def test_who_logged_in_is_what_the_file_says_by_now(
    accounts: Accounts, line: str, after: Identity | None
) -> None:
    """A stolen password is of no more use once the account is frozen, removed or changed."""
    kept = stored("sesame")
    accounts.write({"alice": kept, "bob": stored("x")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        identity = await plugin.authenticate(credentials("alice", "sesame"))
        rest = line.format(kept=kept, new=stored("sesame"))
        accounts.write({"bob": stored("x")} | ({"alice": rest} if rest else {}))
        assert await plugin.reconfirm(identity) == after


async def test_a_file_that_can_t_be_read_now_is_read_again(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file was to spare just then, whoever was frozen isn't let in for good."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        accounts.write({"alice": stored("sesame") + ":frozen"})
        with monkeypatch.context() as scarce, capture_logs() as logs:
            scarce.setattr(auth_file, "read_user_file", Mock(side_effect=OSError(24, "no file")))
            for _ in range(2):
                assert not (await plugin.authenticate(credentials("alice", "sesame"))).frozen
        assert [entry["event"] for entry in logs] == ["user_file_not_read"]
        assert (await plugin.authenticate(credentials("alice", "sesame"))).frozen


async def test_nobody_goes_on_with_the_old_file_while_the_new_one_is_read(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that asks second waits for what the first one reads."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        identity = await plugin.authenticate(credentials("alice", "sesame"))
        accounts.write({"alice": stored("sesame") + ":frozen"})
        assert set(await asyncio.gather(*(plugin.reconfirm(identity) for _ in range(3)))) == {None}


async def test_a_broken_file_leaves_the_accounts_as_they_were(accounts: Accounts) -> None:
    """A slip in an editor shuts nobody out."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        accounts.write({"": "what is this"})
        assert await plugin.authenticate(credentials("alice", "sesame"))


async def test_a_file_that_is_gone_is_no_wrong_password(accounts: Accounts) -> None:
    """Clients must be told to try again, not that their password is wrong."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        accounts.path.unlink()
        with pytest.raises(FileNotFoundError):
            await plugin.authenticate(credentials("alice", "sesame"))


async def test_a_missing_file_stops_the_start(accounts: Accounts) -> None:
    """A path that leads nowhere is found before anybody knocks."""
    with pytest.raises(FileNotFoundError):
        async with running("auth-file", path=str(accounts.path)):
            pass


async def test_the_path_belongs_to_the_configuration(accounts: Accounts) -> None:
    """A relative path is relative to filterrelay.toml."""
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", base_dir=accounts.path.parent, path="users") as plugin:
        assert await plugin.authenticate(credentials("alice", "sesame"))


async def test_a_hash_that_nobody_can_check_shuts_out_its_account_only(
    accounts: Accounts,
) -> None:
    """The others go on logging in."""
    accounts.write(
        {"alice": stored("sesame"), "bob": "{CRAM-MD5}deadbeef", "carol": "{ARGON2ID}$argon2id$x"}
    )
    async with running("auth-file", path=str(accounts.path)) as plugin:
        assert await plugin.authenticate(credentials("bob", "deadbeef")) is None
        assert await plugin.authenticate(credentials("bob", "sesame")) is None
        assert await plugin.authenticate(credentials("alice", "sesame"))


@pytest.mark.parametrize(
    "option", ["-apr1", "-1", "-5", "-6"], ids=["apr1", "md5", "sha256", "sha512"]
)
def test_a_hash_of_openssl_fits_its_password(option: str) -> None:
    """What `openssl passwd` and htpasswd write without braces is read."""
    made = subprocess.run(
        ["openssl", "passwd", option, "sesame"], check=True, capture_output=True, text=True
    ).stdout.strip()
    check = auth_file.check_for(made)
    assert (check.fits("sesame"), check.fits("sesam")) == (True, False)


@pytest.mark.peer("dovecot")
@pytest.mark.parametrize(
    "scheme",
    [
        *("PLAIN", "SHA", "SSHA", "SSHA256", "SSHA512", "MD5-CRYPT", "SHA256-CRYPT"),
        *("SHA512-CRYPT", "BLF-CRYPT", "ARGON2ID", "ARGON2I", "CRYPT"),
    ],
)
def test_a_hash_of_dovecot_fits_its_password(scheme: str) -> None:
    """What `doveadm pw` writes is read, and no other password fits it."""
    made = subprocess.run(
        ["doveadm", "pw", "-s", scheme, "-p", "sesame"], check=True, capture_output=True, text=True
    ).stdout.strip()
    check = auth_file.check_for(made)
    assert (check.fits("sesame"), check.fits("sesam")) == (True, False)


@pytest.mark.parametrize(
    "hashed",  # from Apache's own documentation of htpasswd
    [
        "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
        "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/",
        "{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=",
    ],
)
def test_a_hash_of_htpasswd_fits_its_password(hashed: str) -> None:
    """bcrypt, Apache's MD5 and SHA-1."""
    check = auth_file.check_for(hashed)
    assert (check.fits("myPassword"), check.fits("mypassword")) == (True, False)


def test_bcrypt_takes_long_passwords() -> None:
    """It reads 72 octets of a password, and what is beyond is no error."""
    long = "sesame" * 20
    check = auth_file.check_for(bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode())
    assert check.fits(long)


async def test_a_flood_of_logins_hashes_few_at_once(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hashing takes 64 MiB: a hundred guessers may not take all memory."""
    busy: list[int] = []
    most = 0
    release = threading.Event()

    def verify(hasher: argon2.PasswordHasher, hashed: str, password: str) -> bool:
        nonlocal most
        busy.append(1)
        most = max(most, len(busy))
        release.wait(0.05)
        busy.pop()
        return True

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    accounts.write({"alice": stored("sesame")})
    async with running("auth-file", path=str(accounts.path)) as plugin:
        await asyncio.gather(
            *(plugin.authenticate(credentials("alice", str(n))) for n in range(10))
        )
    assert most == 2
