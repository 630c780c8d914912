"""What a Postfix on this machine says of itself, and what it lacks to ask a milter."""

import grp
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from filterrelay.errors import FilterRelayError

_SBIN = "/usr/sbin"  # where postconf lies; not on every user's PATH
_PLACE = "filterrelay"  # the socket's folder below queue_directory
_SOCKET = "milter.sock"
_PATIENCE = 30  # seconds
_ASKS_MILTERS = ("smtpd", "cleanup")
_LOSING = {  # milter_default_action: what becomes of mail then
    "accept": "mail is not filtered",
    "quarantine": "all mail is held",
    "reject": "all mail is returned to its senders",
}


@dataclass
class NoPostfix(FilterRelayError):
    """Postfix can't be asked."""

    reason: str

    def __str__(self) -> str:
        return f"can't read Postfix's configuration: {self.reason}"


@dataclass(frozen=True, slots=True)
class Postfix:
    """Its configuration. settings: as `postconf -n` has them; mynetworks with its value.

    services: master.cf's columns, each entry's. overrides: what single services set with -o,
    by `service/type/parameter`. queue, owner, hostname: queue_directory, mail_owner, myhostname.
    """

    settings: Mapping[str, str]
    services: Sequence[Sequence[str]]
    overrides: Mapping[str, str]
    queue: Path
    owner: str
    hostname: str

    @property
    def is_chrooted(self) -> bool:
        """Whether a process that asks milters sees the queue directory only (master(5))."""
        level = self.settings.get("compatibility_level", "0").partition(".")[0]
        marks = {"y", "-"} if level == "0" else {"y"}
        return any(row[4] in marks for row in self.services if row[7] in _ASKS_MILTERS)

    @property
    def socket(self) -> Path:
        """Where the milter's socket can be found by Postfix."""
        return (self.queue / _PLACE if self.is_chrooted else Path("/run", _PLACE)) / _SOCKET

    @property
    def milter(self) -> str:
        """The socket as Postfix calls it: below the queue directory, by its path from there."""
        return f"unix:{_PLACE}/{_SOCKET}" if self.is_chrooted else f"unix:{self.socket}"

    @property
    def group(self) -> str:
        """The group that its processes have."""
        try:
            return grp.getgrgid(pwd.getpwnam(self.owner).pw_gid).gr_name
        except KeyError:
            return self.owner

    @property
    def networks(self) -> list[str]:
        """The networks in mynetworks; what it looks up elsewhere is left out."""
        found = [network for _, network in self._my_networks() if network]
        return found or ["127.0.0.0/8", "::1/128"]

    def _my_networks(self) -> Iterator[tuple[str, str]]:
        """Each word of mynetworks, and the network that it names; empty if it names none."""
        for word in self.settings.get("mynetworks", "").replace(",", " ").split():
            network = ""
            with suppress(ValueError):
                network = str(ip_network(word.replace("[", "").replace("]", ""), strict=False))
            yield word, network

    def lines(self) -> Iterator[str]:
        """What to append to main.cf; milters that are there stay, before ours."""
        there = self.settings.get("smtpd_milters", "")
        if self.milter not in there:
            yield f"smtpd_milters = {_joined(there, self.milter)}"
        local = self.settings.get("non_smtpd_milters", "")
        if not local:
            yield "non_smtpd_milters = $smtpd_milters"
        elif self.milter not in local and "smtpd_milters" not in local:
            yield f"non_smtpd_milters = {_joined(local, self.milter)}"
        if "milter_default_action" not in self.settings:
            yield "milter_default_action = tempfail"
        if self.settings.get("milter_protocol", "6") != "6":
            yield "milter_protocol = 6"

    def notes(self) -> Iterator[str]:
        """What a person must decide."""
        for key, value in self.overrides.items():
            if key.endswith("/smtpd_milters") and value and self.milter not in value:
                service = key.removesuffix("/smtpd_milters")
                change = shlex.quote(f"{key}={_joined(value, self.milter)}")
                yield f"{service} has milters of its own; give it ours:\n   postconf -P {change}"
        if self.settings.get("smtpd_milter_maps"):
            yield "smtpd_milter_maps comes before smtpd_milters for the clients that it knows"
        unread = ", ".join(word for word, network in self._my_networks() if not network)
        if unread:
            yield (
                f"mynetworks has {unread} in it, which can't be taken over: say in "
                "trusted_networks in filterrelay.toml whose mail is signed"
            )
        meanwhile = self.settings.get("milter_default_action", "tempfail")
        if meanwhile in _LOSING:
            then = f"while filterrelay is down, {_LOSING[meanwhile]}"
            yield f"milter_default_action is {meanwhile}: {then}"


def _joined(there: str, milter: str) -> str:
    return f"{there}, {milter}" if there else milter


def read_postfix(directory: Path | None) -> Postfix:
    """The Postfix here. directory: of its configuration, when not its own. Raises NoPostfix."""
    where = () if directory is None else ("-c", str(directory))
    asked = ("queue_directory", "mail_owner", "myhostname", "mynetworks")
    queue, owner, hostname, networks = _ask(*where, "-x", "-h", *asked).split("\n")[:4]
    return Postfix(
        settings={**_pairs(_ask(*where, "-n")), "mynetworks": networks},
        services=[line.split(maxsplit=8) for line in _ask(*where, "-M").splitlines()],
        overrides=_pairs(_ask(*where, "-P")),
        queue=Path(queue),
        owner=owner,
        hostname=hostname,
    )


def _pairs(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _ask(*arguments: str) -> str:
    """What postconf prints. Raises NoPostfix."""
    postconf = shutil.which("postconf") or shutil.which("postconf", path=_SBIN)
    if postconf is None:
        raise NoPostfix("there is no postconf here; is Postfix installed?")
    try:
        done = subprocess.run(  # noqa: S603  # the machine's own postconf
            [postconf, *arguments], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPostfix(str(error)) from None
    if done.returncode:
        raise NoPostfix(done.stderr.strip())
    return done.stdout
