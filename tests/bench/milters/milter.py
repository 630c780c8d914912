"""What every milter of the benchmark is: programs in an account, behind a unix socket."""

import socket
from abc import ABC, abstractmethod
from pathlib import Path

from tests.bench import site
from tests.bench.programs import Programs
from tests.bench.sink import Sink
from tests.bench.site import Site
from tests.bench.works import Work


class Milter(Programs, ABC):
    """One milter that signs. port: where Postfix takes the mail that it gives to this one."""

    name: str
    title: str

    def __init__(self, office: Site) -> None:
        super().__init__(self.name, self.title, office.directory / self.name)
        self.office = office
        self.socket = self.directory / "milter.sock"
        self.port = site.free_port()
        self.sink: Sink | None = None  # Postfix's, which all milters share

    @abstractmethod
    def configure(self) -> list[str]:
        """Write what the milter reads; returns the command that runs it in the foreground."""

    def start(self) -> None:
        """Configure, launch, and wait until it takes connections."""
        self.spawn(self.configure())
        self.wait_for(str(self.socket), lambda: _connect(self.socket))

    def door(self, work: Work) -> tuple[int, bool]:
        """The port that each work goes to; no client says that it is another one."""
        return self.port, False


def _connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
