"""OpenDKIM as Debian configures it, signing only."""

from tests.bench import opendkim
from tests.bench.milters.milter import Milter


class OpenDkim(Milter):
    """OpenDKIM."""

    name = "milter-opendkim"
    title = "OpenDKIM"

    def configure(self) -> list[str]:
        """opendkim.conf."""
        return opendkim.configure(self.office, self.directory / "opendkim.conf", self.socket)
