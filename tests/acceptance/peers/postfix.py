"""A Postfix of our own: its configuration, queue and log in one directory."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .certificates import Certificates
from .process import LOOPBACK, Process, free_port, listens, run, wait_until, workplace

_MASTER = """\
postlog   unix-dgram n - n - 1 postlogd
pickup    unix  n - n 60  1 pickup
cleanup   unix  n - n -   0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -   - trivial-rewrite
bounce    unix  - - n -   0 bounce
defer     unix  - - n -   0 bounce
trace     unix  - - n -   0 bounce
verify    unix  - - n -   1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -   - proxymap
smtp      unix  - - n -   - smtp
lmtp      unix  - - n -   - lmtp
error     unix  - - n -   - error
retry     unix  - - n -   - error
discard   unix  - - n -   - discard
anvil     unix  - - n -   1 anvil
scache    unix  - - n -   1 scache
"""

_DEFAULTS = {
    "compatibility_level": "3.6",
    "myhostname": "mx.provider.example",
    "mydestination": "",
    "mynetworks": "",
    "relay_domains": "office.example, partner.example",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "disable_dns_lookups": "yes",
    "smtp_host_lookup": "native",
    "smtpd_peername_lookup": "no",  # nobody answers for 127.0.0.1 here
    "smtpd_client_connection_count_limit": "0",
    "smtpd_error_sleep_time": "0",
    "message_size_limit": str(50 * 1024**2),
    "mailbox_size_limit": "0",
    "notify_classes": "",
    "alias_maps": "",
    "local_recipient_maps": "",
    "in_flow_delay": "0",
    "smtpd_recipient_restrictions": "",
    "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, "
    "reject_unauth_destination",
    "maillog_file_permissions": "0644",
}


@dataclass
class Postfix:
    """A running Postfix. ports: one for each smtpd that was asked for, by name."""

    directory: Path
    ports: dict[str, int]
    process: Process = field(repr=False)

    def log(self) -> str:
        """What it has logged so far."""
        path = self.directory / "postfix.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def queue_is_empty(self) -> bool:
        """Whether nothing waits for delivery."""
        folders = ("incoming", "active", "deferred")
        queue = self.directory / "queue"
        return not any(p.is_file() for name in folders for p in (queue / name).rglob("*"))

    def delivered(self) -> int:
        """How many recipients it has delivered to since its start."""
        return len(re.findall(r"\bstatus=sent\b", self.log()))


def _write_configuration(
    home: Path,
    services: Mapping[str, Mapping[str, str]],
    ports: Mapping[str, int],
    settings: Mapping[str, str],
    addresses: Mapping[str, str],
    snippets: Mapping[str, str],
) -> None:
    config = home / "etc"
    for folder, owner in (("etc", ""), ("queue", ""), ("data", "postfix")):
        (home / folder).mkdir()
        if owner:
            run(["chown", owner, str(home / folder)])
    merged = {
        **_DEFAULTS,
        "queue_directory": str(home / "queue"),
        "data_directory": str(home / "data"),
        "maillog_file": str(home / "postfix.log"),
        "maillog_file_prefixes": str(home),
        **settings,
    }
    main = "".join(f"{k} = {v}\n" for k, v in merged.items())
    (config / "main.cf").write_text(main + snippets.get("main.cf", ""))
    master = _MASTER
    for name, options in services.items():
        where = f"{addresses.get(name, LOOPBACK)}:{ports[name]}"
        master += f"{where} inet n - n - - smtpd -o syslog_name=postfix/{name}\n"
        for key, value in options.items():
            master += f"  -o {{ {key} = {value} }}\n"
    (config / "master.cf").write_text(master + snippets.get("master.cf", ""))


@contextmanager
def run_postfix(
    services: Mapping[str, Mapping[str, str]],
    settings: Mapping[str, str],
    *,
    addresses: Mapping[str, str] | None = None,
    port: int = 0,
    snippets: Mapping[str, str] | None = None,
) -> Iterator[Postfix]:
    """Postfix with one smtpd a service; settings go into main.cf, a service's beside its smtpd.

    addresses: the services' that aren't at 127.0.0.1. port: one for all of them, instead of
    one for each. snippets: what is appended to main.cf and master.cf. It needs root: its
    master process refuses to run as anybody else.
    """
    addresses = addresses or {}
    with workplace("postfix") as home:
        ports = {name: port or free_port() for name in services}
        _write_configuration(home, services, ports, settings, addresses, snippets or {})
        argv = ["postfix", "-c", str(home / "etc"), "start-fg"]
        process = Process(argv, home / "start.log")
        postfix = Postfix(home, ports, process)
        try:
            for name, number in ports.items():
                process.wait_for_port(number, address=addresses.get(name, LOOPBACK))
            yield postfix
        finally:
            run(["postfix", "-c", str(home / "etc"), "stop"])
            process.kill_group()
            wait_until(
                lambda: (
                    not any(
                        listens(number, addresses.get(name, LOOPBACK))
                        for name, number in ports.items()
                    )
                ),
                "the end of Postfix",
            )


def tls_settings(certificates: Certificates) -> dict[str, str]:
    """Settings for a Postfix that offers STARTTLS."""
    return {
        "smtpd_tls_cert_file": str(certificates.chain),
        "smtpd_tls_key_file": str(certificates.key),
        "smtpd_tls_security_level": "may",
        "smtpd_tls_loglevel": "0",
    }


def login_settings(authentication_port: int) -> dict[str, str]:
    """Settings for a Postfix that asks a Dovecot on that port whether a password is right."""
    return {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": f"inet:{LOOPBACK}:{authentication_port}",
        "smtpd_tls_auth_only": "yes",
        "smtpd_sasl_security_options": "noanonymous",
    }
