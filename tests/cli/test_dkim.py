"""`filterrelay dkim`: from no key to a published one."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from filterrelay.cli.dkim import app
from filterrelay.wire.dkim_key import BadKey, make_key, read_key, record_strings
from tests.acceptance.peers.stub_dns import SERVFAIL, run_dns

NAME = "s1._domainkey.office.example"
CONFIGURATION = """
[dns]
servers = ["{dns}"]
timeout = "1s"
[[listener]]
kind = "milter"
address = "unix:milter.sock"
[[signer]]
use = "dkim-sign"
[signer.options]
keys = [
  {{ domain = "office.example", selector = "s1", key = "dkim/s1.pem" }},
  {{ domain = "shop.example", selector = "s2", key = "dkim/s2.pem" }},
]
"""


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """A directory with a configuration whose keys aren't there yet."""
    (tmp_path / "filterrelay.toml").write_text(CONFIGURATION.format(dns="127.0.0.1:53"))
    return tmp_path


def dkim(*arguments: str | Path) -> Result:
    """What `filterrelay dkim` says."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _published(key: Path) -> list[str]:
    """The key's record as a zone file has it."""
    return [" ".join(f'"{text}"' for text in record_strings(read_key(key).public.record))]


def test_a_key_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """RSA with 2048 bits when nothing else is said."""
    path = tmp_path / "s1.pem"
    done = dkim("keygen", path, "--domain", "office.example", "--selector", "s1")
    assert done.exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    key = read_key(path)
    assert key.algorithm == "rsa-sha256"
    assert f"{NAME}. IN TXT (" in done.stdout


def test_a_key_without_a_domain_is_told_where_it_goes(tmp_path: Path) -> None:
    """What isn't known stands in capitals."""
    done = dkim("keygen", tmp_path / "s1.pem", "--type", "ed25519", "--selector", "s1")
    assert "publish this as the TXT record s1._domainkey.DOMAIN:" in done.stdout


def test_an_ed25519_key_can_be_had(tmp_path: Path) -> None:
    """`--type ed25519`."""
    path = tmp_path / "s1.pem"
    done = dkim("keygen", path, "--type", "ed25519", "--json")
    assert read_key(path).algorithm == "ed25519-sha256"
    assert json.loads(done.stdout)["record"] == read_key(path).public.record


def test_keygen_makes_what_the_configuration_misses(office: Path) -> None:
    """Each key that it names and that isn't there."""
    config = ("-c", office / "filterrelay.toml")
    assert dkim("keygen", "--type", "ed25519", "--domain", "office.example", *config).exit_code == 0
    old = (office / "dkim/s1.pem").read_bytes()
    done = dkim("keygen", "--type", "ed25519", "--json", *config)
    assert [entry["domain"] for entry in json.loads(done.stdout)] == ["shop.example"]
    assert (office / "dkim/s1.pem").read_bytes() == old
    assert dkim("keygen", *config).exit_code == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("named", [True, False])
def test_a_key_belongs_to_the_relay(office: Path, named: bool) -> None:
    """root makes it, and the user of the configuration has to read it."""
    file = office / "filterrelay.toml"
    file.write_text(f'user = "nobody"\n{file.read_text()}')
    key = (office / "k.pem", "--domain", "office.example", "--selector", "s1") if named else ()
    assert dkim("keygen", *key, "--type", "ed25519", "-c", file).exit_code == 0
    made = office / ("k.pem" if named else "dkim/s1.pem")
    assert (made.owner(), made.stat().st_mode & 0o777) == ("nobody", 0o600)


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    """What it has signed would stop to verify."""
    path = tmp_path / "s1.pem"
    path.write_bytes(make_key("ed25519").pem)
    done = dkim("keygen", path)
    assert isinstance(done.exception, BadKey)


def test_the_record_is_printed_for_a_zone_file(tmp_path: Path) -> None:
    """In strings that fit into TXT."""
    path = tmp_path / "s1.pem"
    key = make_key("rsa")
    path.write_bytes(key.pem)
    done = dkim("record", path, "--domain", "office.example", "--selector", "s1")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{NAME}. IN TXT ("
    assert "".join(line.strip(' "') for line in lines[1:-1]) == key.public.record


def test_the_records_of_the_configuration_come_as_json(office: Path) -> None:
    """One entry a key."""
    config = ("-c", office / "filterrelay.toml", "--json")
    dkim("keygen", "--type", "ed25519", *config)
    (first, second) = json.loads(dkim("record", *config).stdout)
    assert (first["name"], second["name"]) == (NAME, "s2._domainkey.shop.example")
    assert first["record"].startswith("v=DKIM1; k=ed25519; p=")
    assert "".join(first["strings"]) == first["record"]


def test_a_file_alone_does_not_tell_the_record_name(tmp_path: Path) -> None:
    """Wrong usage: --domain and --selector are missing."""
    assert dkim("record", tmp_path / "s1.pem").exit_code == 2


def test_a_domain_that_the_configuration_does_not_know_is_said(office: Path) -> None:
    """Rather than printing nothing."""
    done = dkim("record", "--domain", "other.example", "-c", office / "filterrelay.toml")
    assert done.exit_code == 1
    assert "names no such DKIM key" in str(done.exception)


def _checked(office: Path, answers: dict[tuple[str, str], list[str] | str]) -> Result:
    with run_dns(answers) as server:
        (office / "filterrelay.toml").write_text(CONFIGURATION.format(dns=server.address))
        config = office / "filterrelay.toml"
        return dkim("check", "--domain", "office.example", "-c", config, "--json")


@pytest.fixture
def with_key(office: Path) -> Path:
    """The directory, its keys made."""
    assert dkim("keygen", "-c", office / "filterrelay.toml").exit_code == 0
    return office


def test_a_published_key_is_confirmed(with_key: Path) -> None:
    """DNS has what the file has, in as many strings as it takes."""
    done = _checked(with_key, {(NAME, "TXT"): _published(with_key / "dkim/s1.pem")})
    (entry,) = json.loads(done.stdout)
    assert (done.exit_code, entry["state"], entry["text"]) == (0, "matches", "published")


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ({}, "missing"),
        ({(NAME, "TXT"): ['"v=DKIM1; p="']}, "revoked"),
        ({(NAME, "TXT"): SERVFAIL}, "unanswered"),
    ],
)
def test_a_key_that_receivers_cannot_find_ends_with_1(
    with_key: Path, answers: dict[tuple[str, str], list[str] | str], state: str
) -> None:
    """And says in a word what DNS has instead."""
    done = _checked(with_key, answers)
    (entry,) = json.loads(done.stdout)
    assert (done.exit_code, entry["state"]) == (1, state)


def test_another_key_in_dns_ends_with_1(with_key: Path) -> None:
    """The usual mistake after a key was changed."""
    done = _checked(with_key, {(NAME, "TXT"): _published(with_key / "dkim/s2.pem")})
    assert json.loads(done.stdout)[0]["state"] == "different"
    assert done.exit_code == 1


def test_check_reads_well_for_a_person_too(with_key: Path) -> None:
    """A line a key."""
    with run_dns({}) as server:
        (with_key / "filterrelay.toml").write_text(CONFIGURATION.format(dns=server.address))
        done = dkim("check", "-c", with_key / "filterrelay.toml")
    assert done.stdout.splitlines()[0] == f"{NAME}: DNS has no record under this name"
