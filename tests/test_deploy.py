"""deploy/: the unit that systemd runs; more of it is used in tests/acceptance."""

import configparser
import shutil
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from filterrelay.plugin.options import parse_duration
from filterrelay.settings import Settings, Upstream
from filterrelay.supervisor.supervisor import LOAD_WITHIN

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "deploy" / "systemd" / "filterrelay.service"
POSTFIX = ROOT / "deploy" / "postfix"
PAGE = (ROOT / "docs" / "postfix.md").read_text()
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not here"
)


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


def test_a_reload_doesnt_wake_the_watchdog() -> None:
    """While the file is read, no sign of life is given; the last one may be half its time old."""
    watchdog = parse_duration(service()["WatchdogSec"]).total_seconds()
    assert service()["Type"] == "notify"
    assert watchdog / 2 + LOAD_WITHIN < watchdog


def test_it_may_write_where_the_state_lies() -> None:
    """And nowhere else in a system that is read-only for it; all of it is the user of the file."""
    state = Settings.model_fields["state_dir"].default
    assert service()["ProtectSystem"] == "strict"
    assert Path("/var/lib", service()["StateDirectory"]) == state
    assert service()["User"] == Settings.model_fields["user"].default


@needs_systemd
def test_it_is_locked_up() -> None:
    """By systemd's own reckoning of what a service could do to the machine: 0 to 10."""
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not here")
def test_its_user_can_be_made(tmp_path: Path) -> None:
    """In a system that has nobody."""
    (tmp_path / "etc").mkdir()
    users = UNIT.with_name("filterrelay.sysusers")
    command = ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", str(users)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f"Creating user '{service()['User']}'" in done.stdout + done.stderr


@needs_systemd
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
