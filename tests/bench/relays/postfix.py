"""Postfix with OpenDKIM as its milter, in an instance of its own."""

import shutil
import subprocess
from pathlib import Path

from tests.bench import opendkim, site
from tests.bench.errors import MissingProgram, StartFailed
from tests.bench.instance import Instance
from tests.bench.programs import find_program, write
from tests.bench.relays.relay import Relay

_MAIN = """\
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject
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

_DOORS = """\
127.0.0.1:{plain} inet n - n - - smtpd
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
"""

_SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN LOGIN
sasldb_path: {directory}/data/sasldb2
"""


class Postfix(Relay):
    """Postfix and OpenDKIM."""

    name = "postfix"
    title = "Postfix+OpenDKIM"

    def configure(self) -> None:
        """Write main.cf, master.cf, the SASL files and opendkim.conf."""
        self._instance = Instance(self.directory)
        self._check_sasl()
        milter = self.directory / "opendkim.sock"
        self._opendkim = opendkim.configure(self.office, self.directory / "opendkim.conf", milter)
        main = _MAIN.format(
            directory=self.directory,
            domain=site.DOMAIN,
            milter=milter,
            certificate=self.office.certificate,
            key=self.office.key,
        )
        doors = _DOORS.format(plain=self.plain_port, submission=self.submission_port)
        self._instance.configure(self.sink_port, main, doors)
        write(self.directory / "etc/sasl/smtpd.conf", _SASL.format(directory=self.directory))
        self._add_login(self.directory / "data/sasldb2")

    def launch(self) -> None:
        """OpenDKIM first, so that no client meets a Postfix without its milter."""
        self.spawn(self._opendkim)
        self.spawn(self._instance.command)

    def stop(self) -> None:
        """Have Postfix end its own processes."""
        self._instance.stop()
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
