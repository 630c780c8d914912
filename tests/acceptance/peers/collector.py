"""What stands for an OpenTelemetry collector: takes traces by OTLP over HTTP, and keeps the spans.

The octets are read by OpenTelemetry's own protocol definition. Debian has no collector.
"""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .process import LOOPBACK


@dataclass(frozen=True, slots=True)
class Told:
    """One span. begin, end: seconds of Unix time. failed: why, if its status is an error."""

    name: str
    trace: str
    id: str
    parent: str
    begin: float
    end: float
    attributes: dict[str, Any]
    events: tuple[str, ...]
    failed: str | None
    resource: dict[str, Any]


@dataclass
class Collector:
    """A running one. headers: of the last request, in lower case. status: what it answers."""

    url: str = ""
    spans: list[Told] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200

    def take(self, content: bytes) -> None:
        """Keeps what a request brings."""
        request = ExportTraceServiceRequest.FromString(content)
        for resource_spans in request.resource_spans:
            resource = _values(resource_spans.resource.attributes)
            for scope in resource_spans.scope_spans:
                self.spans.extend(_told(span, resource) for span in scope.spans)

    def named(self, name: str) -> list[Told]:
        """The spans of that name."""
        return [span for span in self.spans if span.name == name]


def _told(span: Any, resource: dict[str, Any]) -> Told:
    return Told(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        begin=span.start_time_unix_nano / 1e9,
        end=span.end_time_unix_nano / 1e9,
        attributes=_values(span.attributes),
        events=tuple(event.name for event in span.events),
        failed=span.status.message if span.status.code == 2 else None,
        resource=resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def run_collector() -> Iterator[Collector]:
    """One that listens on loopback."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class finds it by its name
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            collector.headers = {name.lower(): value for name, value in self.headers.items()}
            if collector.status == 200:
                collector.take(content)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    collector.url = f"http://{LOOPBACK}:{server.server_address[1]}/v1/traces"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
