"""A Dovecot of our own: takes mail by LMTP, shows it by IMAP and POP3, knows passwords."""

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .certificates import Certificates
from .process import LOOPBACK, Process, free_port, workplace

_CONFIGURATION = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/dovecot.log
protocols = imap pop3 lmtp
listen = {loopback}
ssl = yes
ssl_cert = <{chain}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:~/Maildir
first_valid_uid = 1
{users}
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%Lu {home}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/mail/%Lu allow_all_users={strangers}
}}
protocol lmtp {{
  postmaster_address = postmaster@office.example
  auth_username_format = %Lu
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service auth {{
  inet_listener {{
    port = {auth}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""

_NOBODY = 65534


@dataclass
class Dovecot:
    """A running Dovecot. ports: imap, imaps, pop3, pop3s, lmtp and auth (SASL for Postfix)."""

    directory: Path
    ports: dict[str, int]
    process: Process = field(repr=False)

    @property
    def socket(self) -> Path:
        """The Unix socket for LMTP."""
        return self.directory / "run" / "lmtp"

    def shut(self, user: str) -> None:
        """Makes a mailbox that nothing can be written to."""
        (self.directory / "mail" / user).mkdir(mode=0o500)

    def log(self) -> str:
        """What it has logged so far."""
        path = self.directory / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def run_dovecot(
    certificates: Certificates, users: Mapping[str, str], *, strangers: bool = True
) -> Iterator[Dovecot]:
    """Dovecot with these addresses and passwords.

    strangers: whether mail for any other address is taken, too.
    """
    with workplace("dovecot") as home:
        names = ("imap", "imaps", "pop3", "pop3s", "lmtp", "auth")
        ports = {name: free_port() for name in names}
        root = os.geteuid() == 0
        uid, gid = (_NOBODY, _NOBODY) if root else (os.getuid(), os.getgid())
        me = getpass.getuser()
        accounts = f"default_internal_user = {me}\ndefault_login_user = {me}\n"
        (home / "users").write_text("".join(f"{u}:{p}\n" for u, p in users.items()))
        (home / "mail").mkdir()
        os.chown(home / "mail", uid, gid)
        (home / "dovecot.conf").write_text(
            _CONFIGURATION.format(
                home=home,
                loopback=LOOPBACK,
                chain=certificates.chain,
                key=certificates.key,
                users="" if root else accounts,
                uid=uid,
                gid=gid,
                strangers="yes" if strangers else "no",
                **ports,
            )
        )
        process = Process(["dovecot", "-F", "-c", str(home / "dovecot.conf")], home / "start.log")
        try:
            for port in ports.values():
                process.wait_for_port(port)
            yield Dovecot(home, ports, process)
        finally:
            process.stop()
