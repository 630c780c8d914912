"""Which programs of other projects are on this machine, and why one can't be used."""

import os
from pathlib import Path

import pytest

from . import journald
from .process import find_program
from .systemd import why_unbootable

# What each peer needs on the PATH (or among the daemons).
_PROGRAMS = {
    "chromium": ("chromium", "pngquant"),
    "clamd": ("clamd",),
    "containers": ("unshare", "setpriv"),
    "docker-compose": ("docker-compose",),
    "dovecot": ("dovecot",),
    "grafana-schema": ("node",),
    "haproxy": ("haproxy",),
    "journald": (journald.PROGRAM, "journalctl", "systemd-cat", "unshare", "nsenter"),
    "miltertest": ("miltertest",),
    "msmtp": ("msmtp",),
    "nodemailer": ("node",),
    "nsd": ("nsd",),
    "opendkim": ("opendkim",),
    "pflogsumm": ("pflogsumm",),
    "postfix": ("postfix",),
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "sendmail": ("m4", "unshare"),
    "swaks": ("swaks",),
    "systemd": ("ip", "pivot_root", "systemd-analyze", "systemd-sysusers", "unshare"),
    "unbound": ("unbound",),
}
# What it needs from npm.
_MODULES = {
    "chromium": ("uplot",),
    "grafana-schema": ("@grafana/schema", "typescript"),
    "nodemailer": ("nodemailer",),
}
_DOVECOT_PROTOCOLS = ("imap", "pop3", "lmtp")


def _cache() -> Path:
    """Where install-peers puts what no package of this machine brings: outside the tree."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "filterrelay-tests"


def node_modules() -> Path:
    """The folder with what comes from npm."""
    return _cache() / "node_modules"


def sendmail_folder() -> Path:
    """What stands for / in Debian's packages of Sendmail."""
    return _cache() / "sendmail"


def why_missing(peer: str) -> str:
    """Empty when the peer can be used here, else the reason in words."""
    if peer not in _PROGRAMS:
        raise ValueError(f"no peer is called {peer!r}; known: {', '.join(_PROGRAMS)}")
    for program in _PROGRAMS[peer]:
        if find_program(program) is None:
            return f"{program} is not installed; tests/acceptance/install-peers does it"
    if peer in ("containers", "postfix", "sendmail", "systemd") and os.geteuid() != 0:
        return f"{peer.capitalize()} can be started by root only"
    if peer == "sendmail" and not sendmail_folder().exists():
        return "Sendmail is not unpacked; tests/acceptance/install-peers does it"
    if peer == "journald" and os.geteuid() != 0:
        return "a mount namespace can be made by root only"
    if peer == "systemd":
        return why_unbootable()
    for module in _MODULES.get(peer, ()):
        if not (node_modules() / module).exists():
            return f"{module} is not installed; tests/acceptance/install-peers does it"
    if peer == "dovecot":
        libexec = Path("/usr/lib/dovecot")
        absent = [name for name in _DOVECOT_PROTOCOLS if not (libexec / name).exists()]
        return f"Dovecot lacks {', '.join(absent)}" if absent else ""
    return ""


def require_peers(item: pytest.Item) -> None:
    """A missing peer is a failure in CI, where all are installed, and elsewhere a skip."""
    for marker in item.iter_markers("peer"):
        for name in marker.args:
            reason = why_missing(name)
            if reason and os.environ.get("CI", "").lower() == "true":
                pytest.fail(f"needs {name}: {reason}", pytrace=False)
            if reason:
                pytest.skip(f"needs {name}: {reason}")
