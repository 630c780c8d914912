"""Headless Chromium, spoken to over a pair of pipes in the words of its DevTools protocol."""

import base64
import fcntl
import json
import os
import select
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--remote-debugging-pipe"),
)
_HIGH = 10  # descriptors from here on are in nobody's way
_PATIENCE = 60.0  # seconds for one answer
_FAREWELL = 10.0  # seconds until it has ended


class BrowserFailed(Exception):
    """Chromium has gone, doesn't answer, or says that something can't be done."""


class Browser:
    """One page of a running Chromium. errors: what has gone wrong in the page so far."""

    def __init__(self, reads: int, writes: int) -> None:
        self.errors: list[str] = []
        self._reads = reads
        self._writes = writes
        self._buffer = b""
        self._number = 0
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Has something done, and returns its result. Raises BrowserFailed."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        try:
            os.write(self._writes, json.dumps(asked).encode() + b"\0")
        except BrokenPipeError:
            raise BrowserFailed("it has gone") from None
        deadline = time.monotonic() + _PATIENCE
        while True:
            message = self._next(deadline)
            if message.get("id") == self._number:
                break
            self._note(message)
        if "error" in message:
            raise BrowserFailed(f"{method}: {message['error']['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def open(self, url: str, width: int, height: int) -> None:
        """Loads a page into a window of that size."""
        self.resize(width, height)
        failed = self.call("Page.navigate", url=url).get("errorText")
        if failed:
            raise BrowserFailed(f"{url}: {failed}")

    def resize(self, width: int, height: int) -> None:
        """Gives the window another size, in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def evaluate(self, script: str) -> Any:
        """What an expression comes to in the page; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise BrowserFailed(_told(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def picture(self) -> bytes:
        """The window as it looks now, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._reads], [], [], deadline - time.monotonic())
            octets = os.read(self._reads, 1 << 20) if ready else b""
            if not octets:
                raise BrowserFailed("it has gone" if ready else "no answer in time")
            self._buffer += octets
        first, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                self.errors.append(_told(details))
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "error"} as entry}}:
                self.errors.append(f"{entry['text']} {entry.get('url', '')}".rstrip())


def _told(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details["text"])


@contextmanager
def run_browser(program: str = "chromium") -> Iterator[Browser]:
    """A Chromium with a new and empty profile, which is gone at the end."""
    commands, ours_out = _pipe()
    ours_in, answers = _pipe()
    with tempfile.TemporaryDirectory(prefix="fr-chromium-") as profile:
        pid = _started([program, *FLAGS, f"--user-data-dir={profile}"], commands, answers)
        for end in (commands, answers):
            os.close(end)
        try:
            yield Browser(ours_in, ours_out)
        finally:
            os.close(ours_out)  # which it takes for the end
            _wait(pid)
            os.close(ours_in)


def _pipe() -> tuple[int, int]:
    """A pipe's two ends, for reading and for writing."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _HIGH) for end in low)
    for end in low:
        os.close(end)
    return high[0], high[1]


def _started(command: list[str], commands: int, answers: int) -> int:
    """Its process number. It reads commands from descriptor 3 and answers on 4."""
    quiet = [(os.POSIX_SPAWN_OPEN, end, os.devnull, os.O_RDWR, 0) for end in (0, 1, 2)]
    ours = [(os.POSIX_SPAWN_DUP2, commands, 3), (os.POSIX_SPAWN_DUP2, answers, 4)]
    return os.posix_spawnp(
        command[0], command, os.environ, file_actions=[*quiet, *ours], setsid=True
    )


def _wait(pid: int) -> None:
    """Returns when it has ended, and all that it started; kills what doesn't."""
    deadline = time.monotonic() + _FAREWELL
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.02)
