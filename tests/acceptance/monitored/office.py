"""The program with all its doors, filters and next hops, scraped by Prometheus."""

import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.delivery.far_side import Act, FarSide

from ..peers.certificates import Certificates, make_certificates, make_dkim_key
from ..peers.clamd import run_clamd
from ..peers.far_sides import add_upstream, run_far_sides
from ..peers.postfix import Postfix, run_postfix
from ..peers.process import LOOPBACK, free_port, workplace
from ..peers.program import Program, run_program
from ..peers.prometheus import Prometheus, run_prometheus
from ..peers.sink import Sink, run_sink
from ..peers.stub_dns import run_dns, txt

PLUGIN = Path(__file__).parents[1] / "milter" / "obeys.py"
DESTINATIONS = tuple(f"{name}.direct.example" for name in ("north", "east", "south", "west"))
LIMITS = {
    "message_size": "1 MiB",
    "connections_per_client": 20,
    "login_failures": 2,
}
FILTERS: list[dict[str, Any]] = [
    {"use": "obeys"},
    {"use": "spf"},
    {"use": "dkim"},
    {"use": "clamav", "timeout": "5s"},
    {"use": "clamav", "name": "second-scanner", "timeout": "1s", "on_error": "accept"},
    {"use": "attachments"},
    {"use": "spam"},
    {"use": "spam", "name": "stricter-spam", "mode": "shadow"}
    | {"options": {"tag": 1.0, "quarantine": 2.0, "reject": 4.0}},
]


@dataclass(frozen=True)
class Office:
    """All of it, running.

    home: the smart host, strict, where mail goes by default and reports come back. direct: the
    mail server of every name in DESTINATIONS. behind: what is passed on through the proxy.
    guarded: the partner who wants TLS. milter: the Postfix that has us for a milter.
    """

    program: Program
    prometheus: Prometheus
    home: Sink
    direct: Sink
    behind: Sink
    guarded: FarSide
    milter: Postfix


def _dns(key_name: str, key_record: str) -> dict[tuple[str, str], list[str] | str]:
    records: dict[tuple[str, str], list[str] | str] = {
        (key_name, "TXT"): txt(key_record),
        ("office.example", "TXT"): txt("v=spf1 ip4:127.0.0.1 -all"),
        ("mx.direct.example", "A"): [LOOPBACK],
    }
    return records | {(name, "MX"): ["10 mx.direct.example."] for name in DESTINATIONS}


def _add_doors(program: Program) -> None:
    """The proxy and the milter, beside the doors that every program here has."""
    for name, more in (("proxy", {"upstream": "behind"}), ("milter", {})):
        program.ports[name] = free_port()
        address = f"{LOOPBACK}:{program.ports[name]}"
        program.config["listener"].append({"name": name, "kind": name, "address": address, **more})
    for listener in program.config["listener"]:
        if listener["name"] == "open":
            listener["xclient_from"] = ["127.0.0.0/8"]


def _filters(clamd: Path) -> list[dict[str, Any]]:
    """Those above; one scanner is there, the second one isn't."""
    sockets = {"clamav": f"unix:{clamd}", "second-scanner": f"{LOOPBACK}:{free_port()}"}

    def completed(entry: Mapping[str, Any]) -> dict[str, Any]:
        socket = sockets.get(entry.get("name", entry["use"]))
        return {**entry, "options": {"socket": socket}} if socket else dict(entry)

    return [completed(entry) for entry in FILTERS]


def _server_context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.chain, certificates.key)
    return context


@contextmanager
def run_monitored(rules: Iterable[Path], interval: int = 1) -> Iterator[Office]:
    """The office at work. rules: for Prometheus. interval: seconds between its scrapes."""
    with ExitStack() as stack:
        certificates = make_certificates(stack.enter_context(workplace("tls")))
        key = make_dkim_key("office.example")
        home, direct, behind = (stack.enter_context(run_sink()) for _ in range(3))
        context = _server_context(certificates)
        guarded = FarSide(extensions=("PIPELINING", "STARTTLS"), tls=context)
        silent = FarSide(answers={"DATA": Act.HANG})
        stack.enter_context(run_far_sides([guarded, silent]))
        dns = stack.enter_context(run_dns(_dns(key.name, key.record)))
        clamd = stack.enter_context(run_clamd())
        program = stack.enter_context(run_program(certificates, home.port))
        program.install_plugin(PLUGIN, "Obeys")
        program.config |= {
            "dns": {"servers": [dns.address], "timeout": "1s"},
            "limits": LIMITS,
            "delivery": {"retry": "1s", "retry_max": "2s", "warn_after": "3s", "drain": "2s"},
            "filter": _filters(clamd.socket),
        }
        program.sign_with(key)
        _add_doors(program)
        trusting = {"tls": "required", "ca_file": str(certificates.authority)}
        add_upstream(program, "guarded", guarded, **trusting)
        add_upstream(program, "silent", silent, timeout="1s")
        loopback = {"tls": "none", "allow_networks": ["127.0.0.0/8"]}
        program.config["upstream"] += [
            {"name": "behind", "hosts": [f"{LOOPBACK}:{behind.port}"], "tls": "none"},
            {"name": "direct", "protocol": "mx", "port": direct.port, **loopback},
        ]
        program.config["route"].append({"recipients": ["*.direct.example"], "upstream": "direct"})
        milter = stack.enter_context(_run_milters_postfix(program.ports["milter"]))
        program.start()
        target = f"{LOOPBACK}:{program.ports['metrics']}"
        prometheus = stack.enter_context(run_prometheus(target, rules, interval))
        yield Office(program, prometheus, home, direct, behind, guarded, milter)


@contextmanager
def _run_milters_postfix(port: int) -> Iterator[Postfix]:
    """A Postfix that asks our milter, and throws away what it may pass on."""
    settings = {
        "smtpd_milters": f"inet:{LOOPBACK}:{port}",
        "mynetworks": "127.0.0.0/8",
        "relay_transport": "discard:",
        "default_transport": "discard:",
    }
    with run_postfix({"smtp": {}}, settings) as running:
        yield running
