"""deploy/office/: its steps make what its configuration names, and that would serve."""

import getpass
import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from filterrelay.cli.servable import servable_settings

from .conftest import PROVIDER_LOGIN
from .peers.certificates import Certificates
from .peers.clamd import Clamd
from .peers.postfix import Postfix
from .peers.process import LOOPBACK, free_port, run
from .peers.program import program_path
from .peers.stub_dns import run_dns, txt

OFFICE = Path(__file__).parents[2] / "deploy" / "office"
README = (OFFICE / "README.md").read_text()
CONFIGURATION = (OFFICE / "filterrelay.toml").read_text()


def made_by_init(folder: Path) -> Path:
    """Step 3 and 4 in a folder of their own: the configuration's file."""
    (step,) = re.findall(r"^ *(filterrelay init /etc/filterrelay .*)$", README, re.MULTILINE)
    _, *arguments = step.replace("/etc/filterrelay", str(folder)).split()
    done = run([program_path(), *arguments])
    assert done.returncode == 0, done.stderr
    (folder / "provider.password").touch(mode=0o600)
    (folder / "provider.password").write_text(f"{PROVIDER_LOGIN[1]}\n")
    return folder / "filterrelay.toml"


def adapted(text: str, words: Mapping[str, str]) -> str:
    """The configuration for this machine: other ports, places and peers, and nothing else."""
    for word, instead in words.items():
        assert word in text, f"{word} is no longer there"
        text = text.replace(word, instead)
    return f'user = "{getpass.getuser()}"\n{text}'


@pytest.mark.peer("postfix", "dovecot", "clamd")
def test_it_would_serve(
    tmp_path: Path, provider: Postfix, clamd: Clamd, certificates: Certificates
) -> None:
    """With all files that the steps make, and the daemons and the provider that they name."""
    file = made_by_init(tmp_path / "etc")
    words = {
        "/var/lib/filterrelay": str(tmp_path / "state"),
        '"smtp1.provider.example:587"': f'"{LOOPBACK}:{provider.ports["submission"]}"',
        '"smtp2.provider.example:587"': f'"{LOOPBACK}:{provider.ports["submission"]}"',
        'username      = "office"': f'username = "{PROVIDER_LOGIN[0]}"\n'
        f'ca_file = "{certificates.authority}"',
        "/run/clamav/clamd.ctl": str(clamd.socket),
        "127.0.0.1:9325": f"{LOOPBACK}:{free_port()}",
        **{f"0.0.0.0:{port}": f"{LOOPBACK}:{free_port()}" for port in (587, 465, 25)},
    }
    record = run([program_path(), "dkim", "record", "-c", str(file)]).stdout
    published = "".join(re.findall(r'"([^"]*)"', record))
    with run_dns({("s1._domainkey.office.example", "TXT"): txt(published)}) as dns:
        words["servers = []"] = f'servers = ["{LOOPBACK}:{dns.port}"]'
        file.write_text(adapted(CONFIGURATION, words))
        added = run([program_path(), "user", "add", "ann", "-c", str(file)], stdin=b"long enough\n")
        assert added.returncode == 0, added.stderr
        done = run([program_path(), "check", "-c", str(file)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "It would serve." in done.stdout
    warnings = [line for line in done.stdout.splitlines() if "warning" in line]
    assert len(warnings) == 1, done.stdout
    assert "self-signed" in warnings[0]


def test_what_is_switched_off_can_be_switched_on(tmp_path: Path) -> None:
    """Each example behind ##: mail from the world, the office's own mailboxes, the checks."""
    file = made_by_init(tmp_path / "etc")
    text = re.sub(r"^## ", "", CONFIGURATION, flags=re.MULTILINE)
    file.write_text(adapted(text, {"0.0.0.0:25": "10.1.20.1:25"}))
    settings = servable_settings(file)
    assert [one.name for one in settings.listener][-1] == "inbound"
    assert [one.use for one in settings.filter] == ["attachments", "clamav", "spam", "spf", "dkim"]
    assert settings.route[0].upstream == "mailboxes"


def test_new_filters_look_on_first_and_viruses_are_stopped() -> None:
    """What the page promises of the file."""
    filters = {one["use"]: one for one in tomllib.loads(CONFIGURATION)["filter"]}
    assert filters["spam"]["mode"] == "shadow"
    assert filters["clamav"].get("mode", "enforce") == "enforce"
    assert filters["clamav"]["on_error"] == "defer"


def test_a_renewed_certificate_is_handed_over(tmp_path: Path) -> None:
    """Both files, for the relay's group alone, and then a reload."""
    hook, to = tmp_path / "hook", tmp_path / "tls"
    text = (OFFICE / "certificate-hook").read_text()
    group = str(os.getgid())
    text = text.replace("/etc/filterrelay/tls", str(to)).replace(
        "-o root -g filterrelay", f"-g {group}"
    )
    hook.write_text(text)
    (tmp_path / "systemctl").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "systemctl").chmod(0o755)
    to.mkdir()
    for name in ("privkey", "fullchain"):
        (tmp_path / f"{name}.pem").write_text(f"new {name}")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RENEWED_LINEAGE": str(tmp_path)}
    done = subprocess.run(
        ["sh", str(hook)], env=environment, capture_output=True, text=True, timeout=10, check=False
    )
    assert (done.returncode, done.stdout) == (0, "try-reload-or-restart filterrelay\n"), done.stderr
    for name in ("privkey", "fullchain"):
        file = to / f"{name}.pem"
        assert file.read_text() == f"new {name}"
        assert file.stat().st_mode & 0o777 == 0o640


def test_its_page_names_what_is_there() -> None:
    """No file of deploy/ that isn't."""
    for named in re.findall(r"(?<!/)\bdeploy/[\w./-]*\w", README):
        assert (OFFICE.parents[1] / named).exists(), named
