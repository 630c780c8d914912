"""deploy/compose.yaml and what it mounts: as files, and wired up without containers."""

import json
import os
import re
import shutil
import smtplib
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .peers.clamd import EICAR, Clamd
from .peers.postfix import run_postfix
from .peers.process import LOOPBACK, Process, free_port, run, wait_until, workplace
from .peers.program import program_path

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY.parent / "grafana" / "alerts"
COMPOSE = DEPLOY / "compose.yaml"
PASSWORD = {"GRAFANA_ADMIN_PASSWORD": "of the test alone"}
USER = "10025"  # as the Containerfile has it
ANN, WORD = "ann@office.example", "correct horse"

# A container's view: nothing can be written but the volume and a folder for temporary files. Where
# this Python lies, only root may look; that right, to read, is left.
CONTAINED = """
set -e
mount --bind "$VOLUME" "$VOLUME"
mount -t tmpfs tmpfs "$TMPDIR"
chmod 1777 "$TMPDIR"
mount -o remount,bind,ro /
exec setpriv --reuid "$USER" --regid "$USER" --clear-groups --no-new-privs \
    --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search "$@"
"""


def compose(*arguments: str, env: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and output of docker-compose with that file."""
    done = run(["docker-compose", "-f", str(COMPOSE), *arguments], env=env)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.peer("docker-compose")
def test_compose_takes_the_file_and_finds_what_it_mounts() -> None:
    """Every path on the host is in the tree: Docker would make an empty folder of a missing one."""
    code, said = compose("config", env=PASSWORD)
    assert code == 0, said
    mounted = re.findall(r"(?:- |source: |context: |dockerfile: )(/[^:\s]+)", said)
    assert len(mounted) > 8
    assert [path for path in mounted if not Path(path).exists()] == []


@pytest.mark.peer("docker-compose")
def test_nobody_gets_in_with_a_password_that_we_chose() -> None:
    """Without one of the operator's own, it doesn't start."""
    code, said = compose("config", env={"GRAFANA_ADMIN_PASSWORD": ""})
    assert code != 0
    assert "choose one" in said
    ports = re.findall(r'"([\d.:]+:\d+)"', COMPOSE.read_text())
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.peer("promtool")
def test_prometheus_takes_its_file() -> None:
    """As it is shipped."""
    done = run(["promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")])
    assert done.returncode == 0, done.stdout + done.stderr


def replaced(file: Path, words: Mapping[str, str]) -> str:
    """The file's text with places of this machine for those in the containers."""
    text = file.read_text()
    for word, instead in words.items():
        assert word in text, f"{word} is no longer in {file}"
        text = text.replace(word, instead)
    return text


@dataclass
class Wired:
    """The relay as in its container. volume: its /var/lib/filterrelay. inbox: of the smart host."""

    volume: Path
    ports: dict[str, int]
    process: Process
    inbox: Path
    file: Path

    def command(self, *arguments: str, stdin: bytes = b"") -> Any:
        """`docker compose exec filterrelay filterrelay …`."""
        return run([*contained(self.volume), *arguments, "-c", str(self.file)], stdin=stdin)


def contained(volume: Path) -> list[str]:
    """The program as its container's user, who can write to the volume alone."""
    places = [f"VOLUME={volume}", f"TMPDIR={volume.parent}/tmp", f"USER={USER}"]
    sandbox = ["unshare", "--mount", "--propagation", "private", "sh", "-c", CONTAINED, "sh"]
    return ["env", *places, *sandbox, program_path()]


@contextmanager
def smart_host(home: Path) -> Iterator[tuple[int, Path]]:
    """The Postfix of postfix.cf: its port, and where everybody's mail lies."""
    inbox = home / "mail" / "inbox"
    inbox.mkdir(parents=True)
    shutil.chown(inbox, 65534, 65534)
    words = {
        "virtual_mailbox_base = /var/mail": f"virtual_mailbox_base = {home}/mail",
        "maillog_file = /dev/stdout\n": "",
        "inet:rspamd:11332": f"inet:{LOOPBACK}:{free_port()}",  # nobody: mail comes all the same
    }
    snippets = {
        "main.cf": replaced(DEPLOY / "container" / "postfix.cf", words),
        "master.cf": "virtual unix - n n - - virtual\n",
    }
    with run_postfix({"smtp": {}}, {}, snippets=snippets) as postfix:
        yield postfix.ports["smtp"], inbox


@pytest.fixture
def wired(clamd: Clamd) -> Iterator[Wired]:
    """filterrelay with container/filterrelay.toml, the smart host and clamd."""
    ports = {name: free_port() for name in ("submission", "submissions", "metrics")}
    with workplace("container") as home, smart_host(home) as (upstream, inbox):
        volume, file = home / "volume", home / "filterrelay.toml"
        volume.mkdir(mode=0o750)
        os.chown(volume, int(USER), int(USER))
        (home / "tmp").mkdir()
        keys = ["--hostname", "relay.office.example", "--domain", "office.example"]
        made = run([*contained(volume), "init", str(volume / "keys"), *keys])
        assert made.returncode == 0, made.stderr
        words = {
            "/var/lib/filterrelay": str(volume),
            "0.0.0.0:2587": f"{LOOPBACK}:{ports['submission']}",
            "0.0.0.0:2465": f"{LOOPBACK}:{ports['submissions']}",
            "0.0.0.0:9325": f"{LOOPBACK}:{ports['metrics']}",
            "postfix:25": f"{LOOPBACK}:{upstream}",
            "clamav:3310": f"{LOOPBACK}:{clamd.port}",
        }
        file.write_text(replaced(DEPLOY / "container" / "filterrelay.toml", words))
        process = Process([*contained(volume), "serve", "-c", str(file)], home / "log")
        try:
            process.wait_for_port(ports["metrics"])
            running = Wired(volume, ports, process, inbox, file)
            wait_until(lambda: running.command("health").returncode == 0, "health")
            yield running
            assert process.stop() == 0
            assert "Traceback" not in process.output()
        finally:
            process.kill_group()


def submit(wired: Wired, text: str) -> None:
    """One message from Ann, by STARTTLS."""
    trusting = ssl.create_default_context(cafile=str(wired.volume / "keys/tls/fullchain.pem"))
    trusting.check_hostname = False
    with smtplib.SMTP(LOOPBACK, wired.ports["submission"]) as client:
        client.starttls(context=trusting)
        client.login(ANN, WORD)
        client.sendmail(ANN, ["bob@partner.example"], text)


@contextmanager
def prometheus(metrics: int, home: Path) -> Iterator[int]:
    """Debian's, with the shipped file; its port."""
    words = {
        "filterrelay:9325": f"{LOOPBACK}:{metrics}",
        "/etc/prometheus/filterrelay": str(ALERTS),
        "15s": "1s",
    }
    (home / "prometheus.yml").write_text(replaced(DEPLOY / "prometheus" / "prometheus.yml", words))
    port = free_port()
    options = [f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data"]
    process = Process(
        ["prometheus", *options, f"--web.listen-address={LOOPBACK}:{port}"], home / "prometheus.log"
    )
    try:
        process.wait_for_port(port)
        yield port
    finally:
        process.kill_group()


def ask(port: int, path: str) -> Any:
    """The data of one answer of Prometheus."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/api/v1/{path}", timeout=5) as answer:
        return json.load(answer)["data"]


@pytest.mark.peer("containers", "clamd", "postfix", "promtool")
def test_all_of_it_works_together(wired: Wired, tmp_path: Path) -> None:
    """Mail goes through, a virus doesn't, and Prometheus counts both and knows the alerts."""
    added = wired.command("user", "add", ANN, stdin=f"{WORD}\n".encode())
    assert added.returncode == 0, added.stderr
    with prometheus(wired.ports["metrics"], tmp_path) as port:
        text = "From: <{}>\r\nSubject: wired\r\n\r\n{}\r\n"
        submit(wired, text.format(ANN, "Text."))
        with pytest.raises(smtplib.SMTPDataError, match=r"(?i)virus"):
            submit(wired, text.format(ANN, EICAR.decode()))
        (arrived,) = wait_until(lambda: list((wired.inbox / "new").glob("*")), "the mail")
        assert b"DKIM-Signature:" in arrived.read_bytes()

        def value(expression: str) -> str:
            found = ask(port, f"query?query={expression}")["result"]
            return found[0]["value"][1] if found else ""

        wait_until(lambda: value("up%7Bjob=%22filterrelay%22%7D") == "1", "the scrape")
        wait_until(lambda: value("sum(filterrelay_deliveries_total)") == "1", "the delivery")
        assert len(ask(port, "rules")["groups"]) >= len([*ALERTS.glob("*.yaml")])
        assert "runbooks" in ask(port, "status/config")["yaml"]
