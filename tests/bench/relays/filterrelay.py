"""filterrelay as it is installed: `filterrelay serve`, without filters and with four of them."""

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

from argon2 import PasswordHasher

from tests.bench import site
from tests.bench.errors import BenchError
from tests.bench.messages import build_pool
from tests.bench.programs import write
from tests.bench.relays.relay import Relay
from tests.bench.site import Site

FILTERS = ("spf", "dkim", "attachments", "spam")
LESSONS = 120  # messages of each kind; the classifier speaks from 100 on

_CONFIG = """\
hostname = "{hostname}"
state_dir = "{directory}/state"
workers = 2
user = "{user}"

[limits]
message_size = "50 MiB"
connections_per_client = 100

[tls]
certificate = "{certificate}"
key = "{key}"

[dns]
servers = ["127.0.0.1:{dns}"]

[[listener]]
kind = "smtp"
address = "127.0.0.1:{plain}"
tls = "none"
auth = "none"
trusted_networks = ["127.0.0.0/8"]

[[listener]]
kind = "smtp"
address = "127.0.0.1:{submission}"
tls = "starttls"
auth = "required"

[[auth]]
use = "auth-file"
[auth.options]
path = "users"

[[upstream]]
name = "sink"
hosts = ["127.0.0.1:{sink}"]
tls = "none"
connections = 20

[[signer]]
use = "dkim-sign"
[signer.options]
keys = [{{ domain = "{domain}", selector = "{selector}", key = "{dkim_key}" }}]

[metrics]
address = "127.0.0.1:{metrics}"

[console]
address = "127.0.0.1:{console}"

[log]
format = "json"
"""

_STRANGERS = """
[[listener]]
kind = "smtp"
name = "strangers"
address = "127.0.0.1:{port}"
proxy_protocol = true
relay_domains = ["{domain}"]
"""

_FILTER = """
[[filter]]
use = "{name}"
mode = "enforce"
"""


class FilterRelay(Relay):
    """filterrelay, signing only."""

    name = "filterrelay"
    title = "filterrelay"
    ours = True
    filters: tuple[str, ...] = ()

    def configure(self) -> None:
        """Write filterrelay.toml and the user file."""
        self._program = find_filterrelay()
        config = _CONFIG.format(
            hostname=site.HOSTNAME,
            directory=self.directory,
            certificate=self.office.certificate,
            key=self.office.key,
            dns=self.office.dns_port,
            plain=self.plain_port,
            submission=self.submission_port,
            sink=self.sink_port,
            domain=site.DOMAIN,
            selector=site.SELECTOR,
            dkim_key=self.office.dkim.path,
            metrics=site.free_port(),
            console=site.free_port(),
            user=getpass.getuser(),  # who owns the keys
        )
        config += "".join(_FILTER.format(name=name) for name in self.filters)
        if self.strangers_port is not None:
            config += _STRANGERS.format(port=self.strangers_port, domain=site.RECIPIENT_DOMAIN)
        write(self.directory / "filterrelay.toml", config)
        hashed = PasswordHasher().hash(site.PASSWORD)
        write(self.directory / "users", f"{site.LOGIN}:{{ARGON2ID}}{hashed}\n")
        (self.directory / "state").mkdir()

    def launch(self) -> None:
        """The supervisor, which starts the workers."""
        config = str(self.directory / "filterrelay.toml")
        self.spawn([str(self._program), "serve", "-c", config])


class FilterRelayFilters(FilterRelay):
    """filterrelay with its filters enforced."""

    name = "filterrelay-filters"
    title = "filterrelay + filters"
    filters = FILTERS

    def __init__(self, office: Site) -> None:
        super().__init__(office)
        self.strangers_port = site.free_port()

    def configure(self) -> None:
        """The same, and a classifier that has learned what an office writes."""
        super().configure()
        for kind, seed in (("ham", 1), ("spam", 2)):
            lessons = self.directory / kind
            lessons.mkdir()
            pool = build_pool(8000, LESSONS, seed, self.office.app_dkim.path.read_bytes())
            for number, sending in enumerate(pool):
                message = sending.with_id(f"{kind}.{number}") + sending.content
                write(lessons / f"{number}.eml", message.decode())
            learn = [str(self._program), "learn", kind, str(lessons), "-c"]
            subprocess.run(
                [*learn, str(self.directory / "filterrelay.toml")], check=True, capture_output=True
            )


def find_filterrelay() -> Path:
    """The program: $FILTERRELAY, beside this interpreter, or on the PATH."""
    if named := os.environ.get("FILTERRELAY"):
        return Path(named).absolute()
    for candidate in (Path(sys.executable).with_name("filterrelay"), Path(".venv/bin/filterrelay")):
        if candidate.exists():
            return candidate.absolute()
    if found := shutil.which("filterrelay"):
        return Path(found)
    raise BenchError("filterrelay is not installed: `make bench` does it, or set FILTERRELAY")
