"""An instance of Postfix in a directory of its own, as far as all that measure with one agree."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.bench import site
from tests.bench.errors import NeedsRoot
from tests.bench.programs import find_program, write

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
"""

_SERVICES = """\
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


class Instance:
    """Writes and ends it; who starts it with `command` decides what counts its processes."""

    def __init__(self, directory: Path) -> None:
        if os.geteuid() != 0:
            raise NeedsRoot
        self._program = find_program("postfix", "postfix")
        self._directory = directory

    @property
    def command(self) -> list[str]:
        """What runs it in the foreground."""
        return [*self._postfix(), "start-fg"]

    def configure(self, sink_port: int, main: str, doors: str) -> None:
        """main: more of main.cf. doors: the smtpd services of master.cf."""
        common = _MAIN.format(directory=self._directory, hostname=site.HOSTNAME, sink=sink_port)
        write(self._directory / "etc/main.cf", common + main)
        write(self._directory / "etc/master.cf", doors + _SERVICES)
        (self._directory / "queue").mkdir()
        data = self._directory / "data"
        data.mkdir(mode=0o700)
        shutil.chown(data, "postfix")

    def stop(self) -> None:
        """Has it end its own processes, if it was configured."""
        if (self._directory / "etc/main.cf").exists():
            subprocess.run([*self._postfix(), "stop"], check=False, capture_output=True)

    def _postfix(self) -> list[str]:
        return [self._program, "-c", str(self._directory / "etc")]
