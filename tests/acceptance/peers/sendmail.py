"""A Sendmail of our own: its configuration, queue and milter in one directory.

Debian has it as the mail server of a machine, in Postfix's place; install-peers unpacks it into
a folder of its own instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .presence import sendmail_folder
from .process import LOOPBACK, Process, free_port, run, workplace

HOST = "mx.office.example"

# A host without a dot in its name makes Sendmail wait for a minute before it starts. Where that
# is allowed it sees another name than the machine has; elsewhere it waits.
_NAMED = f"""\
unshare --uts sh -c 'hostname {HOST} && exec "$0" "$@"' "$0" "$@" || exec "$0" "$@"
"""
_PATIENCE = 90.0  # seconds

# F=T: mail is put off while the milter is down. As cf/README has it, but for what keeps it on
# loopback: no look-ups in DNS, all mail to one smart host, and a queue below /tmp.
_MC = """\
OSTYPE(`linux')
define(`confDOMAIN_NAME', `{host}')
define(`confPID_FILE', `{home}/pid')
define(`confSERVICE_SWITCH_FILE', `{home}/service.switch')
define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit')
define(`confDONT_PROBE_INTERFACES', `True')
define(`confDELIVERY_MODE', `interactive')
define(`confTO_IDENT', `0')
define(`confDAEMON_OPTIONS', `')
define(`QUEUE_DIR', `{home}/queue')
define(`STATUS_FILE', `{home}/status')
define(`ALIAS_FILE', `')
define(`SMART_HOST', `relay:[{loopback}]')
define(`RELAY_MAILER_ARGS', `TCP $h {sink}')
FEATURE(`no_default_msa')
FEATURE(`nocanonify')
FEATURE(`promiscuous_relay')
FEATURE(`accept_unresolvable_domains')
DAEMON_OPTIONS(`Name=MTA, Family=inet, Addr={loopback}, Port={port}')
INPUT_MAIL_FILTER(`filterrelay', `S={milter}, F=T, T=S:30s;R:30s;E:60s')
MAILER(`smtp')
"""


@dataclass(frozen=True)
class Sendmail:
    """A running Sendmail: where it takes mail, and where it keeps what isn't gone."""

    port: int
    queue: Path

    def held(self) -> int:
        """How many messages are quarantined: their envelopes' names say so."""
        return len(list(self.queue.glob("hf*")))


def _write_configuration(home: Path, port: int, sink: int, milter: str) -> Path:
    """sendmail.cf, as m4 makes it of our sendmail.mc."""
    (home / "queue").mkdir(mode=0o700)
    (home / "service.switch").write_text("hosts files\naliases files\n")
    source = home / "sendmail.mc"
    source.write_text(
        _MC.format(home=home, host=HOST, loopback=LOOPBACK, port=port, sink=sink, milter=milter)
    )
    folder = sendmail_folder() / "usr/share/sendmail/cf"
    made = run(["m4", f"-D_CF_DIR_={folder}/", str(folder / "m4/cf.m4"), str(source)])
    assert made.returncode == 0, made.stderr
    file = home / "sendmail.cf"
    file.write_text(made.stdout)
    return file


@contextmanager
def run_sendmail(sink: int, milter: str) -> Iterator[Sendmail]:
    """A running one. sink: the port that all mail goes to. milter: as INPUT_MAIL_FILTER has it."""
    with workplace("sendmail") as home:
        port = free_port()
        file = _write_configuration(home, port, sink, milter)
        program = sendmail_folder() / "usr/libexec/sendmail/sendmail"
        command = ["sh", "-c", _NAMED, str(program), "-bD", "-C", str(file)]
        process = Process(command, home / "start.log")
        try:
            process.wait_for_port(port, _PATIENCE)
            yield Sendmail(port, home / "queue")
        finally:
            process.kill_group()
