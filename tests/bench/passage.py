"""The proxy door: what it adds to the time that one client waits for a message."""

import getpass
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console

from tests.bench import site
from tests.bench.client import Client
from tests.bench.messages import Sending, build_pool
from tests.bench.programs import Programs, write
from tests.bench.relays.filterrelay import find_filterrelay
from tests.bench.sink import Sink
from tests.bench.site import Site, build_site, free_port
from tests.bench.targets import Target
from tests.bench.works import KIB

NAME = "proxy"
SIZE = 10 * KIB
MOST = 0.005  # seconds
_MESSAGES = 400
_WARM_UP = 100
_RECIPIENT = f"someone@{site.RECIPIENT_DOMAIN}"

_CONFIG = """\
hostname = "{hostname}"
state_dir = "{directory}/state"
workers = 2
user = "{user}"

[[listener]]
kind = "proxy"
address = "127.0.0.1:{port}"
upstream = "sink"

[[upstream]]
name = "sink"
hosts = ["127.0.0.1:{sink}"]
tls = "none"

[metrics]
address = "127.0.0.1:{metrics}"

[console]
address = ""

[log]
format = "json"
"""


@dataclass(slots=True)
class Times:
    """Seconds from MAIL to the message's reply, a figure a message."""

    straight: list[float] = field(default_factory=list)
    passed_on: list[float] = field(default_factory=list)

    def target(self) -> Target:
        """What is promised."""
        text, wanted = "proxy door: added to the median of 10 KB", f"≤ {MOST * 1000:.0f} ms"
        if not self.passed_on:
            return Target(text, wanted, "not measured", None)
        added = median(self.passed_on) - median(self.straight)
        return Target(text, wanted, f"{added * 1000:.1f} ms", added <= MOST)


class _ProxyDoor(Programs):
    """filterrelay with a proxy door, an empty chain and no signer."""

    def __init__(self, office: Site, sink_port: int) -> None:
        super().__init__("filterrelay-proxy", "filterrelay, proxy", office.directory / "proxy")
        self.port = free_port()
        self._sink_port = sink_port

    def start(self) -> None:
        """Configure, launch, and wait for its greeting."""
        file = self.directory / "filterrelay.toml"
        text = _CONFIG.format(
            hostname=site.HOSTNAME,
            directory=self.directory,
            user=getpass.getuser(),
            port=self.port,
            sink=self._sink_port,
            metrics=free_port(),
        )
        write(file, text)
        (self.directory / "state").mkdir()
        self.spawn([str(find_filterrelay()), "serve", "-c", str(file)])
        self.await_greeting(self.port)


async def run(directory: Path, scale: float, console: Console) -> Times:
    """One client that goes to the sink itself and through the door, message by message."""
    below = directory / NAME
    below.mkdir(mode=0o755)
    office = build_site(below)
    sink_port = free_port()
    sink = Sink.start(sink_port)
    door = _ProxyDoor(office, sink_port)
    try:
        door.start()
        pool = build_pool(SIZE, 40, SIZE, office.app_dkim.path.read_bytes())
        straight = await Client.connect(sink_port, None, proxied=False)
        passed_on = await Client.connect(door.port, None, proxied=False)
        times = Times()
        for number in range(_WARM_UP + round(_MESSAGES * scale)):
            if number == _WARM_UP:
                times = Times()
            sending = pool[number % len(pool)]
            times.straight.append(await _sent(straight, sending, f"straight.{number}"))
            times.passed_on.append(await _sent(passed_on, sending, f"passed-on.{number}"))
        await straight.quit()
        await passed_on.quit()
    finally:
        door.stop()
        sink.stop()
    console.print(
        f"{NAME}: {median(times.straight) * 1000:.1f} ms straight,"
        f" {median(times.passed_on) * 1000:.1f} ms through the proxy door",
        highlight=False,
    )
    return times


async def _sent(client: Client, sending: Sending, name: str) -> float:
    began = time.monotonic()
    await client.send(_RECIPIENT, sending.with_id(name), sending.content)
    return time.monotonic() - began
