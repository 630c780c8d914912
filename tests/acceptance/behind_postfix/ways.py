"""One filterrelay behind a Postfix for each way that deploy/postfix/ shows, with those files."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..peers.certificates import Certificates, DkimKey
from ..peers.postfix import Postfix, login_settings, run_postfix, tls_settings
from ..peers.process import LOOPBACK, free_port, workplace
from ..peers.program import Program, run_program
from ..peers.sink import Sink, run_sink

SNIPPETS = Path(__file__).parents[3] / "deploy" / "postfix"
WAYS = ("milter", "proxy", "content-filter", "smart-host")
# Where Postfix answers before we are asked, and returns what we reject.
AFTER_QUEUE = ("content-filter", "smart-host")
DOOR = "smtp"  # the way without a Postfix
_QUEUE = "/var/spool/postfix"  # queue_directory in our files
_ORDERS = Path(__file__).with_name("orders")
_PORTS = {
    "milter": (),
    "proxy": ("10025", "10026"),
    "content-filter": ("10027", "10028"),
    "smart-host": ("10029",),
}
_CLIENTS = "127.0.0.0/8, 192.0.2.0/24, [2001:db8::]/32"

# What Postfix itself would change, so that all that is changed is ours.
_UNCHANGED = {
    "smtp_line_length_limit": "0",  # else 998
    "message_drop_headers": "",  # else Bcc, Return-Path and others
    "local_header_rewrite_clients": "",  # else missing fields are added
    "smtp_destination_recipient_limit": "1000",
}


@dataclass
class Office:
    """All of it, running. postfixes: by way."""

    program: Program
    sink: Sink
    postfixes: dict[str, Postfix]

    def port(self, way: str) -> int:
        """Where a client sends mail that shall go that way."""
        return self.program.ports["open"] if way == DOOR else self.postfixes[way].ports["smtp"]


def snippet(way: str, file: str, changes: Mapping[str, str]) -> str:
    """One of our files, for this machine; empty where that way has none."""
    path = SNIPPETS / way / file
    text = path.read_text() if path.exists() else ""
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


@contextmanager
def run_behind(
    way: str, changes: Mapping[str, str], settings: Mapping[str, str]
) -> Iterator[Postfix]:
    """The Postfix of one way: its front, where clients are believed who they are, is `smtp`."""
    own = {"relay_domains": ""} if way == "smart-host" else {}  # all that leaves is its part
    files = {name: snippet(way, name, changes) for name in ("main.cf", "master.cf")}
    front = {"smtpd_authorized_xclient_hosts": "127.0.0.0/8"}
    with run_postfix({"smtp": front}, {**settings, **own}, snippets=files) as postfix:
        socket_home = postfix.directory / "queue" / "filterrelay"
        socket_home.mkdir(mode=0o750)
        shutil.chown(socket_home, group="postfix")
        yield postfix


def install_orders(site: Path) -> None:
    """Builds and installs the third party's plugin, as its user would with pip."""
    source = site.with_name("orders")
    shutil.copytree(_ORDERS, source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--target", str(site), str(source)]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=120)


def add_listener(program: Program, way: str, changes: Mapping[str, str]) -> None:
    """Puts our file for that way into the configuration."""
    name = f"reinject-{way}"  # two ways are in one file here
    text = snippet(way, "filterrelay.toml", {**changes, '"reinject"': f'"{name}"'})
    piece: dict[str, Any] = tomllib.loads(text)
    for section in ("listener", "upstream"):
        program.config[section] += piece.pop(section, [])
    assert piece == {}, f"{way}: {piece}"


@contextmanager
def run_office(
    certificates: Certificates, key: DkimKey, authentication_port: int
) -> Iterator[Office]:
    """An office whose mail may go every way, to the one sink; filterrelay is yet to be started."""
    with ExitStack() as stack:
        sink = stack.enter_context(run_sink())
        settings = {
            **tls_settings(certificates),
            **login_settings(authentication_port),
            **_UNCHANGED,
            "mynetworks": _CLIENTS,
            "inet_protocols": "all",  # clients may have an IPv6 address
            "relay_transport": f"smtp:[{LOOPBACK}]:{sink.port}",
        }
        changes = {way: {port: str(free_port()) for port in _PORTS[way]} for way in WAYS}
        program = stack.enter_context(run_program(certificates, sink.port))
        site = stack.enter_context(workplace("site")) / "packages"
        with ThreadPoolExecutor() as pool:  # each start takes a second
            installed = pool.submit(install_orders, site)
            started = {
                way: pool.submit(stack.enter_context, run_behind(way, changes[way], settings))
                for way in WAYS
            }
            installed.result()
            postfixes = {way: future.result() for way, future in started.items()}
        for way, postfix in postfixes.items():
            add_listener(program, way, {**changes[way], _QUEUE: f"{postfix.directory}/queue"})
        inherited = os.environ.get("PYTHONPATH", "")
        program.wrapper = ["env", f"PYTHONPATH={site}{os.pathsep}{inherited}"]
        (door,) = (one for one in program.config["listener"] if one["name"] == "open")
        door |= {"name": DOOR, "xclient_from": ["127.0.0.0/8"], "relay_domains": ["*"]}
        program.config["limits"] = {"recipients": 1000}
        program.config["delivery"] = {"drain": "5s", "retry": "1s"}
        program.config["filter"] = [{"use": "office-orders"}]
        program.sign_with(key)
        yield Office(program, sink, postfixes)
