"""An upstream whose name can't be resolved: its mail waits until it can be."""

import os
import subprocess
from functools import partial
from typing import Any

import pytest

from .peers.conversation import submit
from .peers.process import wait_until
from .peers.program import Program
from .peers.sink import Sink
from .peers.stub_dns import SERVFAIL, TIMEOUT, run_dns

SERVER = "127.153.0.53"
ALONE = ("unshare", "--mount")  # what is mounted then, nobody else sees
BIND = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
TROUBLES = {"servfail": SERVFAIL, "silent": TIMEOUT, "nxdomain": None}


@pytest.fixture
def own_resolver(program: Program) -> None:
    """The program asks the test's name server, as the machine's."""
    if os.geteuid() != 0 or subprocess.run([*ALONE, "true"], check=False).returncode:
        pytest.skip("only root can give a program a resolv.conf of its own")
    file = program.home / "resolv.conf"
    file.write_text(f"nameserver {SERVER}\noptions timeout:1 attempts:1\n")
    program.wrapper = (*ALONE, "sh", "-c", BIND, str(file))


@pytest.mark.usefixtures("own_resolver")
def test_mail_waits_while_the_name_of_its_upstream_is_not_known(
    program: Program, sink: Sink
) -> None:
    """SERVFAIL, silence, and even NXDOMAIN, which may be a slip: none of them bounces mail."""
    records = {
        (f"{name}.provider.example", kind): trouble
        for name, trouble in TROUBLES.items()
        for kind in ("A", "AAAA")
        if trouble is not None
    }
    program.config["delivery"] = {"retry": "1s", "retry_max": "1s"}
    program.config["route"] = []
    for name in TROUBLES:
        host = f"{name}.provider.example:{sink.port}"
        upstream = {"name": name, "hosts": [host], "tls": "none", "connect_timeout": "2s"}
        program.config["upstream"].append(upstream)
        program.config["route"].append({"recipients": [f"*@{name}.example"], "upstream": name})
    with run_dns(records, SERVER) as dns:
        program.start()
        for name in TROUBLES:
            submit(program.ports["open"], [f"user@{name}.example"], b"Subject: x\r\n\r\nx\r\n")
        for name in TROUBLES:
            first = wait_until(partial(_first, program, name), f"the attempt for {name}")
            assert first["event"] == "deferred"
            assert f"connect to {name}.provider.example" in first["reply"]
        dns.records.clear()
        dns.records.update({(f"{name}.provider.example", "A"): ["127.0.0.1"] for name in TROUBLES})
        for name in TROUBLES:
            sink.wait_for(f"user@{name}.example")
        wait_until(lambda: program.json_command("queue", "list") == [], "an empty queue")
        assert program.stop() == 0
    assert len(sink.arrivals) == len(TROUBLES)


def _first(program: Program, name: str) -> dict[str, Any]:
    """What the log says of the first attempt; empty as long as there is none."""
    attempts = (e for e in program.log_events() if e["event"] in ("deferred", "bounced"))
    return next((e for e in attempts if f"user@{name}.example" in e["recipients"]), {})
