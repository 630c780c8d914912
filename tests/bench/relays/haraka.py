"""Haraka with its dkim plugin, two workers; installed by npm into a cache outside of the tree."""

import json
import re
import subprocess
from pathlib import Path

from tests.bench import site
from tests.bench.errors import StartFailed
from tests.bench.programs import cache, find_program, write
from tests.bench.relays.relay import Relay

_VERSION = "3.3"

_PLUGINS = """\
relay
tls
auth/flat_file
dkim
"""

_SMTP = """\
listen=127.0.0.1:{plain},127.0.0.1:{submission}
nodes=2
"""

_MESSAGE_SIZE = re.compile(r"^bytes=\d+$", re.MULTILINE)

_OUTBOUND = """\
local_mx_ok=true
concurrency_max=10
enable_tls=false
inet_prefer=v4
"""

_RELAY = """\
[relay]
acl=true
force_routing=true
"""

_DKIM = """\
[sign]
enabled=true
headers=From, Sender, Reply-To, Subject, Date, Message-ID, To, Cc, MIME-Version, Content-Type
[verify]
enabled=false
"""

_AUTH = """\
[core]
methods=PLAIN,LOGIN
[users]
{login}={password}
"""

_TLS = """\
key={key}
cert={certificate}
dhparam=dhparams.pem
"""

# ffdhe2048 of RFC 7919; without a file Haraka spends minutes of CPU on making its own.
_DH_PARAMETERS = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


class Haraka(Relay):
    """Haraka as a cluster of two workers."""

    name = "haraka"
    title = "Haraka+dkim"

    def configure(self) -> None:
        """Install Haraka if it isn't yet, and write its config directory."""
        self._node = find_program("node", "nodejs")
        self._program = _installed(self.title)
        config = self.directory / "config"
        shipped = self._program.parents[1] / "config/connection.ini"
        values = {
            "plain": self.plain_port,
            "submission": self.submission_port,
            "login": site.LOGIN,
            "password": site.PASSWORD,
            "certificate": self.office.certificate,
            "key": self.office.key,
        }
        route = {"action": "continue", "nexthop": f"127.0.0.1:{self.sink_port}"}
        for name, text in {
            "me": site.HOSTNAME + "\n",
            "plugins": _PLUGINS,
            "smtp.ini": _SMTP.format_map(values),
            "connection.ini": _MESSAGE_SIZE.sub("bytes=52428800", shipped.read_text()),
            "outbound.ini": _OUTBOUND,
            "relay.ini": _RELAY,
            "relay_acl_allow": "127.0.0.0/8\n",
            "relay_dest_domains.ini": f"[domains]\nany={json.dumps(route)}\n",
            "dkim.ini": _DKIM,
            f"dkim/{site.DOMAIN}/private": self.office.dkim.path.read_text(),
            f"dkim/{site.DOMAIN}/selector": site.SELECTOR + "\n",
            "auth_flat_file.ini": _AUTH.format_map(values),
            "dhparams.pem": _DH_PARAMETERS,
            "tls.ini": _TLS.format_map(values),
            "log.ini": "[main]\nlevel=notice\n",
            "internalcmd_key": "bench\n",
        }.items():
            write(config / name, text)
        (self.directory / "queue").mkdir()

    def launch(self) -> None:
        """One cluster master, which starts the workers."""
        self.spawn([self._node, str(self._program), "-c", str(self.directory)])


def _installed(title: str) -> Path:
    """The haraka program, from the cache or freshly installed."""
    prefix = cache(f"haraka-{_VERSION}")
    program = prefix / "node_modules/Haraka/bin/haraka"
    if not program.exists():
        npm = find_program("npm", "npm")
        done = subprocess.run(
            [npm, "install", "--prefix", str(prefix), "--no-audit", "--no-fund",
             "--omit=dev", "--ignore-scripts", f"Haraka@{_VERSION}", "haraka-plugin-dkim"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0 or not program.exists():
            raise StartFailed(title, f"npm install: {done.stderr.strip()[-600:]}")
    return program
