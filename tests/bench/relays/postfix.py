"""Postfix with OpenDKIM as its milter, in an instance of its own."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.bench import site
from tests.bench.errors import MissingProgram, NeedsRoot, StartFailed
from tests.bench.relays.relay import Relay, find_program, write

_MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
mail_owner = postfix
setgid_group = postdrop
syslog_name = postfix-bench

inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = {hostname}
mydestination =
local_transport = error:no local mail
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject
message_size_limit = 52428800
mailbox_size_limit = 0

relayhost = [127.0.0.1]:{sink}
smtp_tls_security_level = none
smtp_dns_support_level = disabled
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20

in_flow_delay = 0s
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0

smtpd_milters = unix:{milter}
milter_default_action = tempfail

smtpd_tls_chain_files = {key}, {certificate}
smtpd_tls_loglevel = 0
smtpd_tls_session_cache_database =

smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {directory}/etc/sasl
smtpd_sasl_local_domain = {domain}
smtpd_sasl_security_options = noanonymous
"""

_MASTER = """\
127.0.0.1:{plain} inet n - n - - smtpd
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN LOGIN
sasldb_path: {directory}/data/sasldb2
"""

# As Debian ships it, but for signing only (Mode) and the office's key, which lies below /var/tmp
# (RequireSafeKeys).
_OPENDKIM = """\
Syslog yes
SyslogSuccess yes
Canonicalization relaxed/simple
OversignHeaders From
Mode s
Domain {domain}
Selector {selector}
KeyFile {dkim_key}
RequireSafeKeys no
Socket local:{milter}
UMask 000
"""


class Postfix(Relay):
    """Postfix and OpenDKIM."""

    name = "postfix"
    title = "Postfix+OpenDKIM"

    def configure(self) -> None:
        """Write main.cf, master.cf, the SASL files and opendkim.conf."""
        if os.geteuid() != 0:
            raise NeedsRoot
        self._postfix = find_program("postfix", "postfix")
        self._opendkim = find_program("opendkim", "opendkim")
        self._check_sasl()
        self._milter = self.directory / "opendkim.sock"
        values = {
            "directory": self.directory,
            "hostname": site.HOSTNAME,
            "domain": site.DOMAIN,
            "sink": self.sink_port,
            "plain": self.plain_port,
            "submission": self.submission_port,
            "milter": self._milter,
            "selector": site.SELECTOR,
            "dkim_key": self.office.dkim.path,
            "certificate": self.office.certificate,
            "key": self.office.key,
        }
        for where, text in (
            ("etc/main.cf", _MAIN),
            ("etc/master.cf", _MASTER),
            ("etc/sasl/smtpd.conf", _SASL),
            ("opendkim.conf", _OPENDKIM),
        ):
            write(self.directory / where, text.format_map(values))
        (self.directory / "queue").mkdir()
        data = self.directory / "data"
        data.mkdir(mode=0o700)
        shutil.chown(data, "postfix")
        self._add_login(data / "sasldb2")

    def launch(self) -> None:
        """OpenDKIM first, so that no client meets a Postfix without its milter."""
        self.spawn([self._opendkim, "-f", "-x", str(self.directory / "opendkim.conf")])
        self.spawn([self._postfix, "-c", str(self.directory / "etc"), "start-fg"])

    def stop(self) -> None:
        """Have Postfix end its own processes."""
        if (self.directory / "etc/main.cf").exists():
            subprocess.run(
                [self._postfix, "-c", str(self.directory / "etc"), "stop"],
                check=False, capture_output=True,
            )  # fmt: skip
        super().stop()

    def _check_sasl(self) -> None:
        find_program("saslpasswd2", "sasl2-bin")
        if not any(Path("/usr/lib").glob("*/sasl2/libsasldb.so")):
            raise MissingProgram("libsasldb.so", "libsasl2-modules-db")

    def _add_login(self, database: Path) -> None:
        user, _, realm = site.LOGIN.partition("@")
        done = subprocess.run(
            ["saslpasswd2", "-c", "-p", "-f", str(database), "-u", realm, user],
            input=site.PASSWORD, text=True, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise StartFailed(self.title, f"saslpasswd2: {done.stderr.strip()}")
        shutil.chown(database, "postfix")
