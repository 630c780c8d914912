"""OpenTelemetry traces: each message's way as spans, sent to a collector by OTLP over HTTP."""

import asyncio
import hashlib
import logging
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from filterrelay.plugin import (
    Address,
    Attempt,
    Duration,
    Envelope,
    Options,
    Outcome,
    Secret,
    Services,
    hook,
)

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"{missing}: pip install 'filterrelay[opentelemetry]'", name=missing.name
    ) from missing


def _checked_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        raise ValueError("should be a web address, as http://127.0.0.1:4318/v1/traces")
    return text


Url = Annotated[str, AfterValidator(_checked_url)]

_QUEUE = 4096  # spans that wait for the collector; beyond, they are dropped
_BATCH = 512
_FAREWELL = 3.0  # seconds at the end for what waits; the relay has others' mail to end with
_LONGEST = 1024  # characters of an attribute
_MOST_RECIPIENTS = 20  # shown of a message
_SESSION_HOOKS = ("on_connect", "on_helo")  # asked once for all messages of a connection
_FAILED = ("error", "timeout", "skipped")


class OpenTelemetryOptions(Options):
    """The options of `opentelemetry`."""

    endpoint: Url = "http://127.0.0.1:4318/v1/traces"
    """Where the collector takes traces, by OTLP over HTTP."""
    authorization: Secret | None = None
    """The Authorization header's value, as `Bearer …`; `authorization_file` reads it."""
    ca_file: Path | None = None
    """Certificates that the collector's is checked against; the machine's own when unset."""
    service_name: str = "filterrelay"
    """The `service.name` of all spans."""
    sample: float = Field(1.0, ge=0, le=1)
    """The part of all messages that is traced, deliveries with them."""
    addresses: Literal["none", "domains", "full"] = "domains"
    """What of the senders' and recipients' addresses, and of logins, leaves this machine."""
    timeout: Duration = Field(timedelta(seconds=5), gt=timedelta(0))
    """How long the collector may take for one batch."""


class OpenTelemetry:
    """Sends each message's way to a collector as OpenTelemetry spans.

    A message is one trace: a span for it, one for each plugin that was asked, and one for
    each delivery attempt, also those hours later by another process. The trace's ID comes
    from the message's. A collector that is down costs spans, never mail.
    """

    options_type = OpenTelemetryOptions

    def __init__(self, options: OpenTelemetryOptions) -> None:
        """Connects to nothing yet."""
        self._options = options
        self._ids = _Ids()

    @hook
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncIterator[None]:
        """Sends from a thread of its own; what waits at the end is sent, or lost in time."""
        self._services = services
        self._exporter = self._made_exporter()
        provider = TracerProvider(
            sampler=TraceIdRatioBased(self._options.sample),
            resource=Resource.create(
                {"service.name": self._options.service_name, "host.name": services.hostname}
            ),
            shutdown_on_exit=False,
            id_generator=self._ids,
            span_limits=SpanLimits(max_attribute_length=_LONGEST),
        )
        provider.add_span_processor(
            BatchSpanProcessor(self._exporter, _QUEUE, max_export_batch_size=_BATCH)
        )
        self._tracer = provider.get_tracer("filterrelay")
        try:
            yield
        finally:
            ending = threading.Thread(target=provider.shutdown, daemon=True)
            ending.start()  # it would wait half a minute for a collector that hangs
            await asyncio.to_thread(ending.join, _FAREWELL)

    def _made_exporter(self) -> OTLPSpanExporter:
        secret, authority = self._options.authorization, self._options.ca_file
        return OTLPSpanExporter(
            self._options.endpoint,
            certificate_file=str(self._services.base_dir / authority) if authority else None,
            headers={"Authorization": secret.get_secret_value()} if secret else None,
            timeout=self._options.timeout.total_seconds(),
        )

    @hook
    async def on_outcome(self, outcome: Outcome) -> None:
        """The message's span, with a child for each plugin's turn."""
        steps = [step for step in outcome.steps if step.hook not in _SESSION_HOOKS]
        wall = self._services.clock.now().timestamp() - self._services.clock.monotonic()
        end = outcome.at.timestamp()
        begin = min((wall + step.began for step in steps), default=end)
        with self._ids.given(outcome.id):
            root = self._tracer.start_span(
                f"message {outcome.session.listener}",
                kind=SpanKind.SERVER,
                start_time=_nanoseconds(begin),
                attributes=self._about(outcome),
            )
        for step in outcome.steps:
            details: dict[str, str | bool] = {
                "filterrelay.plugin": step.plugin,
                "filterrelay.hook": step.hook,
                "filterrelay.verdict": step.verdict,
                "filterrelay.shadow": step.shadow,
            }
            start = wall + step.began
            if step.hook in _SESSION_HOOKS:
                root.add_event(f"{step.plugin} {step.hook}", details, _nanoseconds(start))
                continue
            span = self._tracer.start_span(
                f"{step.plugin} {step.hook}",
                set_span_in_context(root),
                start_time=_nanoseconds(start),
                attributes=details,
            )
            if step.verdict in _FAILED:
                why = step.error if self._full else step.verdict  # an error may tell addresses
                span.set_status(Status(StatusCode.ERROR, why))
            span.end(_nanoseconds(start + step.seconds))
            end = max(end, start + step.seconds)
        root.end(_nanoseconds(end))

    def _about(self, outcome: Outcome) -> dict[str, str | int | list[str]]:
        session, envelope = outcome.session, outcome.envelope
        return {
            "filterrelay.message_id": outcome.id,
            "filterrelay.listener": session.listener,
            "filterrelay.verdict": type(outcome.verdict).__name__.lower(),
            "filterrelay.by": outcome.by,
            "filterrelay.size": outcome.size,
            "filterrelay.recipient_count": len(envelope.recipients),
            "smtp.reply_code": outcome.reply.code,
            "network.protocol.name": session.door,
            "client.address": session.client_ip,
            **self._addresses(envelope),
            **({"enduser.id": session.login} if self._full and session.login else {}),
        }

    @property
    def _full(self) -> bool:
        return self._options.addresses == "full"

    def _addresses(self, envelope: Envelope) -> dict[str, str | list[str]]:
        if self._options.addresses == "none":
            return {}
        shown = dict.fromkeys(self._shown(each.address) for each in envelope.recipients)
        return {
            "filterrelay.sender": self._shown(envelope.sender) if envelope.sender else "",
            "filterrelay.recipients": list(shown)[:_MOST_RECIPIENTS],
        }

    def _shown(self, address: Address) -> str:
        return str(address) if self._full else address.domain

    @hook
    async def on_attempt(self, attempt: Attempt) -> None:
        """A delivery attempt's span, in the trace of its message."""
        span = self._tracer.start_span(
            f"deliver {attempt.upstream}",
            set_span_in_context(NonRecordingSpan(_root_of(attempt.message_id))),
            kind=SpanKind.CLIENT,
            start_time=_nanoseconds_at(attempt.at, -attempt.seconds),
            attributes={
                "filterrelay.message_id": attempt.message_id,
                "filterrelay.upstream": attempt.upstream,
                "filterrelay.result": attempt.result,
                "filterrelay.attempt": attempt.number,
                "filterrelay.stage": attempt.stage,
                "server.address": attempt.host,
                "network.peer.address": attempt.address,
                "tls.protocol.version": attempt.tls,
                "smtp.reply_code": attempt.reply.code,
                **(
                    {"filterrelay.recipient": self._shown(attempt.recipient.address)}
                    if self._options.addresses != "none"
                    else {}
                ),
            },
        )
        if attempt.result != "delivered":
            why = str(attempt.reply) if self._full else attempt.result  # replies tell addresses
            span.set_status(Status(StatusCode.ERROR, why))
        span.end(_nanoseconds_at(attempt.at))

    async def probe(self) -> str:
        """Whether the collector takes a batch, be it an empty one."""
        result = await self._services.in_thread(self._offer_nothing)
        if result is not SpanExportResult.SUCCESS:
            raise ConnectionError(f"{self._options.endpoint} takes no traces")
        return f"{self._options.endpoint} takes traces"

    def _offer_nothing(self) -> SpanExportResult:
        """What becomes of an empty batch. The library's log of it says no more than that."""
        this = threading.get_ident()

        def of_another_thread(record: logging.LogRecord) -> bool:
            return record.thread != this

        log = logging.getLogger(OTLPSpanExporter.__module__)
        log.addFilter(of_another_thread)
        try:
            return self._exporter.export(())
        finally:
            log.removeFilter(of_another_thread)


class _Ids(RandomIdGenerator):
    """Random IDs, but for a message's own span, whose IDs come from the message's."""

    def __init__(self) -> None:
        self._given: SpanContext | None = None

    @contextmanager
    def given(self, message_id: str) -> Iterator[None]:
        """The span that is started inside is that message's."""
        self._given = _root_of(message_id)
        try:
            yield
        finally:
            self._given = None

    def generate_trace_id(self) -> int:
        """128 bits (W3C Trace Context section 3.2.2.3)."""
        return self._given.trace_id if self._given else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """64 bits (W3C Trace Context section 3.2.2.4)."""
        return self._given.span_id if self._given else super().generate_span_id()


def _root_of(message_id: str) -> SpanContext:
    """The context of a message's own span, which every process derives alike."""
    digest = hashlib.sha256(message_id.encode()).digest()
    trace_id, span_id = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags.get_default())


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def _nanoseconds_at(at: datetime, later: float = 0.0) -> int:
    return _nanoseconds(at.timestamp() + later)
