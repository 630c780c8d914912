"""OpenDKIM's miltertest plays the mail server, by scripts of our own for each event and action."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .peers.certificates import Certificates
from .peers.process import LOOPBACK, free_port, run
from .peers.program import run_program

SCRIPTS = Path(__file__).parent / "milter"

pytestmark = pytest.mark.peer("miltertest")


@pytest.fixture(scope="module")
def socket(certificates: Certificates) -> Iterator[str]:
    """A milter with a plugin that does as it is told."""
    with run_program(certificates, free_port()) as program:
        program.install_plugin(SCRIPTS / "obeys.py", "Obeys")
        port = free_port()
        listener = {"name": "milter", "kind": "milter", "address": f"{LOOPBACK}:{port}"}
        program.config |= {"listener": [listener], "auth": [], "filter": [{"use": "obeys"}]}
        program.start()
        yield f"inet:{port}@{LOOPBACK}"
        assert program.stop() == 0


@pytest.mark.parametrize("script", ["negotiation", "steps", "verdicts", "edits"])
def test_each_event_and_action_is_what_libmilter_means(socket: str, script: str) -> None:
    """A script that fails says what wasn't so."""
    done = run(
        [
            *("miltertest", "-D", f"socket={socket}", "-D", f"directory={SCRIPTS}"),
            *("-s", str(SCRIPTS / f"{script}.lua")),
        ]
    )
    assert done.returncode == 0, done.stdout + done.stderr
