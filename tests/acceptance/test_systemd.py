"""deploy/systemd/ under a real systemd: started, watched, reloaded, and given its sockets."""

from pathlib import Path

import pytest

from .peers.systemd import run_in_systemd

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
DROP_IN = "/etc/systemd/system/filterrelay.service.d/test.conf"
# All as it is shipped but the program's place and, so that nobody waits, the watchdog's time.
ADAPTED = """\
[Service]
Environment=PYTHONPATH=/opt/filterrelay:/opt/filterrelay/site
ExecStart=
ExecStart=/usr/bin/python3 -m filterrelay serve -c /etc/filterrelay/filterrelay.toml
WatchdogSec=3s
"""
SOCKET = """\
[Socket]
ListenStream=127.0.0.1:587
FileDescriptorName=submission
"""
SCRIPT = """
export PYTHONPATH=/opt/filterrelay:/opt/filterrelay/site
file=/etc/filterrelay/filterrelay.toml
show() { systemctl show --value -p "$1" filterrelay; }
greeting() { /usr/bin/python3 -c 'import socket
print(socket.create_connection(("127.0.0.1", 587), 10).recv(99).decode().strip())'; }
ip link set lo up
systemd-sysusers
/usr/bin/python3 -m filterrelay init /etc/filterrelay --hostname relay.office.example >/dev/null
systemctl start filterrelay
echo "started: $(show StatusText)"
pid=$(show MainPID)
echo "is: $(ps -o user:20= -p "$pid"), $(grep -c CapEff:.0000000000000400 /proc/$pid/status)"
echo "greets: $(greeting)"
echo "writes: $(stat -c '%U %a' /var/lib/filterrelay/spool.sqlite)"
sed -i s/^hostname/hostnam/ $file
systemctl reload filterrelay
for _ in 1 2 3 4 5 6 7 8 9 10; do
    case $(show StatusText) in *refused*) break ;; esac
    sleep 0.3
done
echo "reloaded: $(show StatusText)"
sed -i 's/^hostnam /hostname /' $file
kill -STOP "$pid"
for _ in $(seq 40); do
    [ "$(show NRestarts)" = 1 ] && [ "$(show ActiveState)" = active ] && break
    sleep 0.5
done
[ "$(show MainPID)" != "$pid" ] && new=new
echo "after a hang: $(show ActiveState) $(show NRestarts) ${new:-the same}"
systemctl stop filterrelay
echo "stopped: $(show Result)"
printf '[Service]\\nAmbientCapabilities=\\nCapabilityBoundingSet=\\n' >>/run/powerless
mkdir -p /run/systemd/system/filterrelay.service.d
mv /run/powerless /run/systemd/system/filterrelay.service.d/powerless.conf
systemctl daemon-reload
systemctl start filterrelay.socket filterrelay
echo "with a socket: $(greeting)"
"""


@pytest.mark.peer("systemd")
def test_the_unit_serves_is_watched_and_takes_sockets() -> None:
    """As the user filterrelay, on port 587, locked up; and a hang of the supervisor is mended."""
    files = {
        "/etc/systemd/system/filterrelay.service": (UNITS / "filterrelay.service").read_text(),
        "/etc/systemd/system/filterrelay.socket": SOCKET,
        "/etc/sysusers.d/filterrelay.conf": (UNITS / "filterrelay.sysusers").read_text(),
        DROP_IN: ADAPTED,
    }
    said = run_in_systemd(files, SCRIPT)
    found = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    assert found.get("started", said).startswith("serving with "), said
    assert found["is"] == "filterrelay, 1"
    assert found["greets"].startswith("220 relay.office.example")
    assert found["writes"] == "filterrelay 600"
    assert "reload refused: " in found["reloaded"]
    assert "did you mean hostname?" in found["reloaded"]
    assert found["after a hang"] == "active 1 new"
    assert found["stopped"] == "success"
    assert found["with a socket"].startswith("220 relay.office.example")
