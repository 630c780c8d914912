"""What systemd is told of the relay, and the sign of life that it waits for (sd_notify(3))."""

import contextlib
import math
import os
import socket
import time
from collections.abc import Callable, MutableMapping

_MICRO = 1_000_000  # microseconds in a second
EXTENSION = 30.0  # seconds by which a start or an end that goes on puts off its time limit


class ServiceManager:
    """Whoever started us and listens at NOTIFY_SOCKET; nobody, where that isn't set.

    It never fails: a service manager that doesn't listen mustn't stop the mail.
    """

    def __init__(
        self,
        environment: MutableMapping[str, str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes its variables out of the environment, which plugins' programs inherit."""
        self._monotonic = monotonic
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        watchdog = environment.pop("WATCHDOG_USEC", "")
        ours = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._every = int(watchdog) / _MICRO / 2 if watchdog.isdecimal() and ours else 0.0
        self._alive_at = self._extended_at = -math.inf
        self._waits_for = ""

    def ready(self, status: str) -> None:
        """It serves, as it does again after a reload."""
        self._tell("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload begins; `ready` must follow, whatever came of it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={int(self._monotonic() * _MICRO)}")

    def stopping(self) -> None:
        """It drains, and ends."""
        self._tell("STOPPING=1", _status("draining"))

    def alive(self) -> None:
        """The sign of life, as often as it is waited for."""
        now = self._monotonic()
        if self._every and now >= self._alive_at + self._every:
            self._alive_at = now
            self._tell("WATCHDOG=1")

    def patience(self, status: str) -> None:
        """What goes on takes long, and nothing is wrong: to be said as long as it does."""
        now = self._monotonic()
        if status != self._waits_for or now >= self._extended_at + EXTENSION / 3:
            self._waits_for, self._extended_at = status, now
            self._tell(f"EXTEND_TIMEOUT_USEC={int(EXTENSION * _MICRO)}", _status(status))

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)


def _status(text: str) -> str:
    """A line for `systemctl status`; a second line would be an order of its own."""
    return f"STATUS={' '.join(text.split())}"
