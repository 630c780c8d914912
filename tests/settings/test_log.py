"""The log's options, from the file."""

from pathlib import Path

import pytest

from filterrelay.observe.log import Options
from filterrelay.settings.file import load
from filterrelay.settings.log import log_options

FILE = """
state_dir = "state"
[[listener]]
kind = "smtp"
address = "127.0.0.1:2525"
auth = "none"
tls = "none"
trusted_networks = ["127.0.0.0/8"]
[[upstream]]
name = "provider"
hosts = ["127.0.0.1:26"]
tls = "none"
[log]
"""


@pytest.mark.parametrize(
    ("where", "resolved"), [("syslog", "syslog"), ("", ""), ("mail.log", "{}/mail.log")]
)
def test_paths_are_relative_to_the_file(tmp_path: Path, where: str, resolved: str) -> None:
    """The mail log's, too; the system's log is no path."""
    file = tmp_path / "filterrelay.toml"
    file.write_text(f'{FILE}mail_log = "{where}"\naddresses = "hashed"\nformat = "journald"')
    assert log_options(load(file, {})) == Options(
        "journald",
        "info",
        resolved.format(tmp_path),
        "hashed",
        tmp_path / "state" / "log.key",
    )
