"""The log: one event a line, as JSON or for a person's eyes."""

import contextlib
import io
import logging
import sys
from typing import Literal, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

Format = Literal["auto", "console", "json"]


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


def configure(
    format_: Format, level: str, stream: TextIO | None = None, *, final: bool = True
) -> None:
    """Sets up structlog and the standard library's logging to write to the stream.

    auto: for a person's eyes on a terminal, else JSON. stream: standard output when unsaid.
    final: a logger that was used stays as it is, which makes it quicker; not so in a
    process that reloads.
    """
    stream = stream or sys.stdout
    output = cast("TextIO", _Output(stream))
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    console = format_ == "console" or (format_ == "auto" and stream.isatty())
    last: list[Processor]
    if console:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    else:
        without_values = ExceptionDictTransformer(show_locals=False)  # locals hold mail and secrets
        last = [
            structlog.processors.ExceptionRenderer(without_values),
            structlog.processors.JSONRenderer(),
        ]
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=final,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(numeric, logging.WARNING))
