"""Nothing is served otherwise than the configuration file says."""

from pathlib import Path
from typing import Any

from filterrelay.settings import Settings
from filterrelay.settings.file import load
from filterrelay.settings.unserved import unserved

LISTENER = {"kind": "smtp", "address": "127.0.0.1:25"}
UPSTREAM = {"name": "provider", "hosts": ["127.0.0.1:25"]}


def complaints(**changes: Any) -> list[str]:
    """The keys that can't be served."""
    values: dict[str, Any] = {"listener": [LISTENER], "upstream": [UPSTREAM]}
    return [problem.key for problem in unserved(Settings.model_validate(values | changes))]


def test_what_is_there_is_served() -> None:
    """A usual file has nothing to complain of."""
    assert not complaints()


def test_what_is_not_there_yet_is_refused_by_name() -> None:
    """Mail that shall be kept elsewhere isn't kept here in silence."""
    assert complaints(spool={"url": "postgresql://localhost/mail"}) == ["spool.url"]


def test_it_is_said_with_its_line(tmp_path: Path) -> None:
    """As everything else that is wrong in the file."""
    file = tmp_path / "f.toml"
    listener = '[[listener]]\nkind = "milter"\naddress = "unix:m"\n'
    file.write_text(f'{listener}[spool]\nurl = "postgresql://localhost/mail"\n')
    (problem,) = unserved(load(file, {}))
    assert str(problem).startswith(f"{file}:5: spool.url: PostgreSQL is not there yet")
