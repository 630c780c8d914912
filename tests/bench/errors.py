"""What can keep a benchmark from running: one family of errors, the text says what to do."""

from pathlib import Path


class BenchError(Exception):
    """The benchmark can't run, or a run of it means nothing."""


class MissingProgram(BenchError):
    """A program of another project is not installed."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(
            f"{program} is not installed: it is in the package {package}"
            " (`make peers` installs all that the benchmark needs)"
        )


class NeedsRoot(BenchError):
    """Postfix's master process starts as root only."""

    def __init__(self) -> None:
        super().__init__("Postfix starts as root only: run as root, or leave it out with --relays")


class StartFailed(BenchError):
    """A relay didn't come up; the end of its log is in the text."""

    def __init__(self, name: str, why: str, log: Path | None = None) -> None:
        tail = ""
        if log is not None and log.exists():
            tail = "\n" + "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
        super().__init__(f"{name} did not start: {why}{tail}")


class RunFailed(BenchError):
    """A run ended without all messages delivered."""
