"""The log: one event a line, as JSON, for a person's eyes, or as systemd's journal has it."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from filterrelay.mail.printable import printable
from filterrelay.observe import journal
from filterrelay.observe.mail_log import mail_log
from filterrelay.observe.privacy import Addresses, privacy
from filterrelay.observe.summary import summary

Format = Literal["auto", "console", "json", "journald"]

_OCTETS = "latin-1"  # which has a character for each
_BESIDE_A_SUMMARY = ("at", "level", "by", "listener", "upstream")  # what it doesn't tell

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How the log is written.

    mail_log: where Postfix-like lines go, too: a path, `syslog`, or nowhere. key_file: what
    addresses are hashed with.
    """

    format: Format = "auto"
    level: str = "info"
    mail_log: str = ""
    addresses: Addresses = "full"
    key_file: Path | None = None


class _Output(io.TextIOBase):
    """A stream that never fails: a log that nobody can read must not stop the mail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, or loses the line when the reader is gone or the disk full.

        Letters that the stream's encoding doesn't have are written as escapes.
        """
        with contextlib.suppress(OSError):
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                escaped = text.encode(encoding, "backslashreplace")
                return self._stream.write(escaped.decode(encoding))
        return 0

    def flush(self) -> None:
        """Hands on what was written, or loses it."""
        with contextlib.suppress(OSError):
            self._stream.flush()


class _ToJournal(logging.Handler):
    """What libraries say, on its way to the journal."""

    def __init__(self, output: journal.Journal) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """One line; a library that can't say what it wants to say fails by that no more."""
        try:
            self._output.msg(self.format(record).encode(_OCTETS))
        except Exception:  # noqa: BLE001  # as in logging's own handlers
            self.handleError(record)


def configure(options: Options, stream: TextIO | None = None, *, final: bool = True) -> None:
    """Sets up structlog and the standard library's logging.

    stream: standard output when unsaid; the journal is taken in its place where the format
    is auto and systemd says that it reads that. final: a logger that was used stays as it
    is, which makes it quicker; not so in a process that reloads.
    """
    stream = stream or sys.stdout
    format_ = _chosen(options.format, stream)
    handler, factory, last = _ways_out(format_, stream)
    theirs = [*last, _as_text] if format_ == "journald" else last
    numeric = logging.getLevelNamesMapping()[options.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _traceback(format_),
    ]
    private, trouble = privacy(options.addresses, options.key_file)
    if private is not None:
        shared.append(private)
    counted: list[Processor] = []
    if options.mail_log:  # which has its lines whatever the level is
        counted = [mail_log(options.mail_log), _from_level(numeric)]
    structlog.configure(
        processors=[*shared, *counted, *last],
        wrapper_class=structlog.make_filtering_bound_logger(0 if counted else numeric),
        logger_factory=factory,
        cache_logger_on_first_use=final,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *theirs],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(numeric, logging.WARNING))
    if trouble:
        log.error("log_key_not_kept", path=str(options.key_file), reason=trouble)


def _chosen(format_: Format, stream: TextIO) -> Format:
    """What auto comes to."""
    if format_ != "auto":
        return format_
    with contextlib.suppress(OSError, ValueError):  # no stream of the system
        if journal.is_the_output(os.environ, stream.fileno()):
            return "journald"
    return "console" if stream.isatty() else "json"


def _ways_out(
    format_: Format, stream: TextIO
) -> tuple[logging.Handler, Callable[..., Any], list[Processor]]:
    """How libraries' lines and ours get out, and what renders both."""
    if format_ == "journald":
        output = journal.Journal()
        return _ToJournal(output), lambda *_: output, [journal.rendered]
    text = cast("TextIO", _Output(stream))
    last: list[Processor] = [structlog.processors.JSONRenderer()]
    if format_ == "console":
        last = [
            _summarised,
            _shown,
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    return logging.StreamHandler(text), structlog.WriteLoggerFactory(text), last


def _as_text(logger: Any, method: str, entry: Any) -> str:
    """Octets as the standard library's logging lets them pass."""
    return cast("bytes", entry).decode(_OCTETS)


def _traceback(format_: Format) -> Processor:
    """Makes words of an exception, without locals: they hold mail and secrets."""
    if format_ == "json":
        return structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return structlog.processors.format_exc_info


def _from_level(least: int) -> Processor:
    """Drops what is below the level that is wanted."""
    wanted = {
        name.lower() for name, level in logging.getLevelNamesMapping().items() if level >= least
    }

    def drop(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event["level"] not in wanted:
            raise structlog.DropEvent
        return event

    return drop


def _shown(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Takes out what a terminal would obey: some of it comes from strangers' mail.

    Lines end in tracebacks alone; of other values the renderer writes their end as an escape.
    """
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable(value, "?", keep="" if name == "event" else "\n")
    return event


def _summarised(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A message or an attempt in Postfix's words, for a person; other events as they are."""
    told = summary(event)
    if told is None:
        return event
    beside = {name: event[name] for name in _BESIDE_A_SUMMARY if event.get(name)}
    return {**beside, "event": str(told)}
