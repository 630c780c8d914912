"""filterrelay itself: the installed program, with a configuration of the test's own."""

import getpass
import json
import os
import re
import shutil
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from argon2 import PasswordHasher

from .certificates import Certificates, DkimKey
from .process import LOOPBACK, Process, find_program, free_port, run, wait_until, workplace

USERS = {
    "ann@office.example": "correct horse",
    "bob@office.example": "battery staple",
}
_CRASH = re.compile(r"Traceback \(most recent call last\)|Task exception was never retrieved")


def program_path() -> str:
    """The installed `filterrelay`, beside this Python or on the PATH."""
    beside = Path(sys.executable).parent / "filterrelay"
    found = str(beside) if beside.exists() else find_program("filterrelay")
    assert found is not None, "filterrelay is not installed in this environment: pip install -e ."
    return found


def to_toml(table: Mapping[str, Any], name: str = "") -> str:
    """The table as TOML text: values first, then sub-tables and lists of tables."""
    plain, nested = "", ""
    for key, value in table.items():
        path = f"{name}.{key}" if name else key
        if isinstance(value, Mapping):
            nested += f"\n[{path}]\n{to_toml(value, path)}"
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            nested += "".join(f"\n[[{path}]]\n{to_toml(entry, path)}" for entry in value)
        else:
            plain += f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
    return plain + nested


def _listeners() -> list[dict[str, Any]]:
    """A door of each kind that users have.

    submission and smtps want a login; open trusts everybody on loopback;
    guarded offers a login, trusts nobody and takes mail for office.example.
    """
    anybody = {"trusted_networks": ["127.0.0.0/8"], "auth": "optional", "senders": "any"}
    return [
        {"name": "submission", "tls": "starttls", "auth": "required"},
        {"name": "smtps", "tls": "implicit", "auth": "required"},
        {"name": "open", "tls": "starttls", **anybody},
        {"name": "guarded", "tls": "starttls", "auth": "optional"}
        | {"relay_domains": ["office.example"]},
    ]


class Program:
    """filterrelay in a directory of its own; `config` may be changed before start().

    ports: by listener name, and `metrics`. wrapper: a command that starts it, its arguments
    in front of it. It runs in its own process group, so that kill_all() takes everything it
    has started along.
    """

    def __init__(self, home: Path, certificates: Certificates, upstream_port: int) -> None:
        self.home = home
        self.certificates = certificates
        listeners = _listeners()
        self.ports = {listener["name"]: free_port() for listener in listeners}
        self.ports["metrics"] = free_port()
        for listener in listeners:
            listener["kind"] = "smtp"
            listener["address"] = f"{LOOPBACK}:{self.ports[listener['name']]}"
        self.config: dict[str, Any] = {
            "hostname": "relay.office.example",
            "state_dir": "state",
            "workers": 2,
            "user": getpass.getuser(),  # not `filterrelay`, who may be there and can't read /tmp
            "listener": listeners,
            "tls": {"certificate": str(certificates.chain), "key": str(certificates.key)},
            "auth": [{"use": "auth-file", "options": {"path": "users"}}],
            "upstream": [
                {"name": "provider", "hosts": [f"{LOOPBACK}:{upstream_port}"], "tls": "none"}
            ],
            "metrics": {"address": f"{LOOPBACK}:{self.ports['metrics']}"},
            "console": {"address": ""},
            "log": {"format": "json"},
        }
        self.write_users(USERS)
        self.wrapper: Sequence[str] = ()
        self._process: Process | None = None
        self._logs = 0

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.home / "filterrelay.toml"

    @property
    def process(self) -> Process:
        """The running program."""
        assert self._process is not None, "the program was not started"
        return self._process

    def write_users(self, users: Mapping[str, str]) -> None:
        """The account file: real argon2id hashes, made cheap so that tests don't wait for them."""
        hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        lines = (f"{login}:{{ARGON2ID}}{hasher.hash(word)}\n" for login, word in users.items())
        (self.home / "users").write_text("".join(lines))

    def sign_with(self, *keys: DkimKey) -> None:
        """Adds the DKIM signer with these keys."""
        entries = []
        for key in keys:
            path = self.home / f"{key.selector}.{key.domain}.pem"
            path.write_bytes(key.private)
            path.chmod(0o600)
            entries.append({"domain": key.domain, "selector": key.selector, "key": path.name})
        self.config["signer"] = [{"use": "dkim-sign", "options": {"keys": entries}}]

    def install_plugin(self, module: Path, kind: str) -> None:
        """Has a class in a module of ours found as a third party's plugin, by the module's name."""
        name = module.stem
        shutil.copy(module, self.home)
        about = self.home / f"{name}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        entry = f"[filterrelay.plugins]\n{name} = {name}:{kind}\n"
        (about / "entry_points.txt").write_text(entry)
        inherited = os.environ.get("PYTHONPATH", "")
        self.wrapper = ["env", f"PYTHONPATH={self.home}{os.pathsep}{inherited}"]

    def write_config(self) -> None:
        """Puts `config` into the file."""
        self.file.write_text(to_toml(self.config))

    def start(self, seconds: float = 20.0) -> None:
        """Starts it and returns when it says that it is ready."""
        self.write_config()
        self._logs += 1
        log = self.home / f"program-{self._logs}.log"
        command = [*self.wrapper, program_path(), "serve", "-c", str(self.file)]
        self._process = Process(command, log)

        def ready() -> bool:
            if self.process.exit_code is not None:
                raise AssertionError(
                    f"ended with {self.process.exit_code}:\n{self.process.output()[-3000:]}"
                )
            return self.http("/readyz")[0] == 200

        wait_until(ready, "filterrelay is ready", seconds)

    def reload(self) -> None:
        """SIGHUP, with the file as it is."""
        self.process.signal(signal.SIGHUP)

    def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM; its exit code."""
        return self.process.stop(seconds)

    def kill_all(self) -> None:
        """SIGKILL to every process of it."""
        self.process.kill_group()

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of the metrics address; status 0 while nobody answers."""
        url = f"http://{LOOPBACK}:{self.ports['metrics']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def command(self, *arguments: str, stdin: bytes = b"") -> CompletedProcess[str]:
        """Another command of the program with the same file, run to its end."""
        return run([program_path(), *arguments, "-c", str(self.file)], stdin=stdin)

    def json_command(self, *arguments: str) -> Any:
        """What a command prints with --json; it must print that alone and succeed."""
        done = self.command(*arguments, "--json")
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def log_text(self) -> str:
        """All that every start so far has logged."""
        files = sorted(self.home.glob("program-*.log"))
        return "".join(path.read_text(errors="replace") for path in files)

    def log_events(self) -> list[dict[str, Any]]:
        """The log's lines; each must be a JSON object."""
        return [json.loads(line) for line in self.log_text().splitlines() if line]

    def assert_healthy_log(self) -> None:
        """Fails when something fell over unforeseen, even if nobody noticed outside."""
        text = self.log_text()
        if found := _CRASH.search(text):
            raise AssertionError(f"in the log: …{text[found.start() : found.start() + 3000]}")

    def end(self) -> None:
        """Ends what still runs, however it fares."""
        if self._process is not None:
            self._process.kill_group()


@contextmanager
def run_program(certificates: Certificates, upstream_port: int) -> Iterator[Program]:
    """A program to configure and start; nothing of it survives, and its log must be healthy."""
    with workplace("program") as home:
        program = Program(home, certificates, upstream_port)
        try:
            yield program
            program.assert_healthy_log()
        finally:
            program.end()


def find_in(value: Any, key: str) -> list[Any]:
    """All values under that key, however deep they lie in a JSON document."""
    if isinstance(value, Mapping):
        here = [value[key]] if key in value else []
        return here + [found for inner in value.values() for found in find_in(inner, key)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [found for inner in value for found in find_in(inner, key)]
    return []
