"""A systemd of our own, in namespaces of its own, above a machine that it can't change."""

import sys
from collections.abc import Mapping
from pathlib import Path

import filterrelay_plugins

import filterrelay

from .process import Process, workplace

_BOOT = Path(__file__).with_name("boot-systemd")
_CGROUPS = Path("/sys/fs/cgroup/systemd")
_NAMESPACES = ("--mount", "--pid", "--cgroup", "--ipc", "--uts", "--net")
# A group of its own among the control groups, so that systemd takes no other for its own.
_START = f"""
mkdir {_CGROUPS}/$1
echo $$ >{_CGROUPS}/$1/cgroup.procs
exec timeout --foreground 200 unshare --fork --kill-child {" ".join(_NAMESPACES)} sh {_BOOT} "$2"
"""


def why_unbootable() -> str:
    """Why no systemd can be booted here; empty when one can."""
    if not (_CGROUPS / "cgroup.procs").exists():
        return "this machine has no control groups named systemd"
    debians = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    if not debians.exists():
        return "the user filterrelay can't run this Python, and there is no other of its version"
    return ""


def run_in_systemd(files: Mapping[str, str], script: str, seconds: float = 180.0) -> str:
    """Boots, runs a script of the shell as root, and returns what it printed.

    files: texts by absolute path. The program is there as `python3 -m filterrelay`, with
    PYTHONPATH=/opt/filterrelay:/opt/filterrelay/site. Fails when it takes longer.
    """
    with workplace("systemd") as home:
        for path, text in files.items():
            file = home / "root" / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (home / "script").write_text(script)
        packages = home / "packages"
        packages.mkdir()
        for package in (filterrelay, filterrelay_plugins):
            (packages / package.__name__).symlink_to(Path(package.__path__[0]).resolve())
        (packages / "site").symlink_to(next(p for p in sys.path if p.endswith("site-packages")))
        group = home.name
        process = Process(["sh", "-ec", _START, "sh", group, str(home)], home / "console")
        try:
            process.wait(seconds)
            output = home / "output"
            return output.read_text() if output.exists() else process.output()
        finally:
            process.kill_group()
            for folder in sorted((_CGROUPS / group).rglob("*/"), reverse=True):
                folder.rmdir()
            (_CGROUPS / group).rmdir()
