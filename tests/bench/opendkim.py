"""OpenDKIM, as a milter that signs."""

from pathlib import Path

from tests.bench import site
from tests.bench.programs import find_program, write
from tests.bench.site import Site

# As Debian ships it, but for signing only (Mode) and the office's key, which lies below /var/tmp
# (RequireSafeKeys).
_CONFIG = """\
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


def configure(office: Site, file: Path, socket: Path) -> list[str]:
    """Writes its configuration; returns the command that runs it in the foreground."""
    text = _CONFIG.format(
        domain=site.DOMAIN,
        selector=site.SELECTOR,
        dkim_key=office.dkim.path,
        milter=socket,
    )
    write(file, text)
    return [find_program("opendkim", "opendkim"), "-f", "-x", str(file)]
