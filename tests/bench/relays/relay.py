"""What every relay of the benchmark is: processes in an account, two doors, one sink."""

from abc import ABC, abstractmethod

from tests.bench import site
from tests.bench.programs import Programs
from tests.bench.sink import Sink
from tests.bench.site import Site
from tests.bench.works import Work


class Relay(Programs, ABC):
    """One relay, configured in a directory of its own."""

    name: str
    title: str
    ours: bool = False  # filterrelay itself, not a peer
    strangers_port: int | None = None  # where clients say with a PROXY header who they are

    def __init__(self, office: Site) -> None:
        super().__init__(self.name, self.title, office.directory / self.name)
        self.office = office
        self.sink: Sink | None = None
        self.sink_port = site.free_port()
        self.plain_port = site.free_port()
        self.submission_port = site.free_port()

    @abstractmethod
    def configure(self) -> None:
        """Write what the relay's programs read."""

    @abstractmethod
    def launch(self) -> None:
        """Start the relay's programs with `spawn`."""

    def start(self) -> None:
        """Configure, launch, and wait until both doors greet."""
        self.configure()
        self.launch()
        for port in (self.plain_port, self.submission_port):
            self.await_greeting(port)

    def open_sink(self) -> None:
        """Start the sink that counts."""
        self.sink = Sink.start(self.sink_port)

    def door(self, work: Work) -> tuple[int, bool]:
        """The port that a work goes to, and whether clients begin with a PROXY header there."""
        if work.strangers and self.strangers_port is not None:
            return self.strangers_port, True
        return (self.submission_port if work.submission else self.plain_port), False

    def stop(self) -> None:
        """End what was started, and the sink after it."""
        super().stop()
        if self.sink is not None:
            self.sink.stop()
