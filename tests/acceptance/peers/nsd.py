"""NSD, an authoritative name server, with zones that a test writes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .process import LOOPBACK, Process, udp_and_tcp, workplace

_SERVER = """\
server:
  ip-address: {loopback}@{port}
  do-ip6: no
  username: ""
  chroot: ""
  zonesdir: "{home}"
  zonelistfile: "{home}/zone.list"
  pidfile: ""
  xfrdfile: ""
  database: ""
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
"""
_ZONE = """\
zone:
  name: {name}
  zonefile: {name}.zone
"""
_HEAD = """\
$ORIGIN {name}.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A {loopback}
"""


@dataclass
class Nsd:
    """A running NSD."""

    directory: Path
    port: int
    process: Process = field(repr=False)

    @property
    def address(self) -> str:
        """`127.0.0.1:port`, as the configuration file takes it."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Starts it again after stop()."""
        self.process = _start(self.directory, self.port)

    def stop(self) -> None:
        """Ends it; nobody answers on its port until start()."""
        self.process.kill_group()


def _start(home: Path, port: int) -> Process:
    process = Process(["nsd", "-d", "-c", str(home / "nsd.conf")], home / "nsd.log")
    process.wait_for_port(port)
    return process


def zone_text(name: str, records: str) -> str:
    """The whole zone of these records."""
    return _HEAD.format(name=name, loopback=LOOPBACK) + records


@contextmanager
def run_nsd(zones: Mapping[str, str]) -> Iterator[Nsd]:
    """NSD with these zones: records in the form of zone files, by the zones' names.

    SOA and NS are added where they are missing. A zone of no records is one whose file is
    missing: SERVFAIL. What is in no zone is refused.
    """
    with workplace("nsd") as home:
        udp, tcp = udp_and_tcp()
        port = udp.getsockname()[1]
        udp.close()
        tcp.close()
        head = _SERVER.format(home=home, port=port, loopback=LOOPBACK)
        (home / "nsd.conf").write_text(head + "".join(_ZONE.format(name=name) for name in zones))
        for name, records in zones.items():
            if records:
                text = records if " SOA " in records else zone_text(name, records)
                (home / f"{name}.zone").write_text(text)
        nsd = Nsd(home, port, _start(home, port))
        try:
            yield nsd
        finally:
            nsd.stop()
