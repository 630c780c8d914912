"""Unbound, a resolver that validates DNSSEC, in front of a name server of ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .nsd import Nsd
from .process import LOOPBACK, Process, udp_and_tcp, workplace

_SERVER = """\
server:
  interface: {loopback}@{port}
  do-ip6: no
  do-daemonize: no
  do-not-query-localhost: no
  use-syslog: no
  username: ""
  chroot: ""
  pidfile: ""
  directory: "{home}"
  num-threads: 1
  module-config: "validator iterator"
"""
_STUB = """\
stub-zone:
  name: "{name}."
  stub-addr: {nsd}
"""


@contextmanager
def run_unbound(nsd: Nsd, zones: Sequence[str], anchors: Sequence[str]) -> Iterator[str]:
    """Its address; it asks the name server about these zones, and believes the anchors' keys."""
    with workplace("unbound") as home:
        udp, tcp = udp_and_tcp()
        port = udp.getsockname()[1]
        udp.close()
        tcp.close()
        text = _SERVER.format(loopback=LOOPBACK, port=port, home=home)
        text += "".join(f'  trust-anchor: "{anchor}"\n' for anchor in anchors)
        text += "remote-control:\n  control-enable: no\n"
        stub = nsd.address.replace(":", "@")
        text += "".join(_STUB.format(name=name, nsd=stub) for name in zones)
        (home / "unbound.conf").write_text(text)
        argv = ["unbound", "-d", "-c", str(home / "unbound.conf")]
        process = Process(argv, home / "unbound.log")
        process.wait_for_port(port)
        try:
            yield f"{LOOPBACK}:{port}"
        finally:
            process.kill_group()
