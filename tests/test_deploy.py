"""deploy/: the unit that systemd runs; what is for other servers is used in tests/acceptance."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from filterrelay.plugin.options import parse_duration
from filterrelay.settings import Settings, Upstream

UNIT = Path(__file__).parent.parent / "deploy" / "filterrelay.service"


POSTFIX = UNIT.parent / "postfix"
PAGE = (UNIT.parent.parent / "docs" / "postfix.md").read_text()


def service() -> configparser.SectionProxy:
    """Its section [Service]."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # letter case counts there
    parser.read(UNIT)
    return parser["Service"]


def test_it_waits_until_mail_under_way_is_drained() -> None:
    """systemd must not kill what filterrelay promised to finish."""
    drain: timedelta = Settings.model_fields["delivery"].default.drain
    assert parse_duration(service()["TimeoutStopSec"]) > 2 * drain


def test_it_may_write_where_the_state_lies() -> None:
    """And nowhere else in a system that is read-only for it."""
    state = Settings.model_fields["state_dir"].default
    assert service()["ProtectSystem"] == "strict"
    assert str(state) in service()["ReadWritePaths"].split()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_understands_it(tmp_path: Path) -> None:
    """All but its program's path, which is of the machine that it is for."""
    text = UNIT.read_text().replace("/opt/filterrelay/bin/filterrelay", sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    command = ["systemd-analyze", "verify", str(tmp_path / UNIT.name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("way", sorted(path.name for path in POSTFIX.iterdir()))
def test_each_way_to_stand_behind_postfix_is_on_its_page(way: str) -> None:
    """With a link to its files."""
    assert f"](../deploy/postfix/{way}/)" in PAGE


def test_slow_clients_before_the_queue_leave_connections_for_others() -> None:
    """Each holds one to the next hop as long as it sends; Postfix has 100 clients at once."""
    text = (POSTFIX / "proxy" / "filterrelay.toml").read_text()
    (upstream,) = tomllib.loads(text)["upstream"]
    assert Upstream(**upstream).connections >= 100


def test_the_page_of_postfix_links_to_what_is_there() -> None:
    """Files and headings."""
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, heading = target.partition("#")
        assert (UNIT.parent.parent / "docs" / file).exists(), target
        titles = [
            re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
        ]
        assert file or heading in titles, target
