"""HAProxy in front of doors, as deploy/haproxy.cfg has it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .process import LOOPBACK, Process, free_port, workplace

SECTION = Path(__file__).parents[3] / "deploy" / "haproxy.cfg"
SMTP_CHECK = "option smtpchk EHLO haproxy"
SEND_PROXY = "send-proxy-v2"


@contextmanager
def run_haproxy(
    first: int, second: int, changes: Mapping[str, str]
) -> Iterator[tuple[int, Process]]:
    """Its port and its process; first and second: the ports of two doors.

    changes: what stands in the place of what in our file.
    """
    port = free_port()
    text = SECTION.read_text()
    ours = {
        "bind :587": f"bind {LOOPBACK}:{port}",
        "relay1 192.0.2.21:10587": f"relay1 {LOOPBACK}:{first}",
        "relay2 192.0.2.22:10587": f"relay2 {LOOPBACK}:{second}",
        "inter 5s": "inter 100ms",
        **changes,
    }
    for old, new in ours.items():
        assert text.count(old) == 1, f"{old!r} in {SECTION}"
        text = text.replace(old, new)
    with workplace("haproxy") as home:
        file = home / "haproxy.cfg"
        file.write_text(text)
        process = Process(["haproxy", "-db", "-f", str(file)], home / "haproxy.log")
        try:
            process.wait_for_port(port)
            yield port, process
        finally:
            process.kill_group()
