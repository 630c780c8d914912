"""A web server on loopback that speaks HTTPS and says what it is told to."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

from filterrelay.delivery.addresses import HostLookup
from filterrelay.plugin.testing import FakeResolver

from .far_side import LOOPBACK


@dataclass
class Web:
    """What it answers by path, and what it was asked.

    answers: status, headers and content by path; 404 for others.
    """

    port: int = 0
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, host, path
    posted: list[tuple[str, bytes]] = field(default_factory=list)  # media type, content

    def text(self, path: str, content: bytes) -> None:
        """Has the text stand there."""
        self.answers[path] = (200, {"Content-Type": "text/plain; charset=utf-8"}, content)


@contextmanager
def web(tls: ssl.SSLContext) -> Iterator[Web]:
    """A running one."""
    told = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class finds it by its name
            told.asked.append((self.command, self.headers["Host"], self.path))
            status, headers, content = told.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:  # the base class finds it by its name
            content = self.rfile.read(int(self.headers["Content-Length"]))
            told.posted.append((self.headers["Content-Type"], content))
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that refuses the certificate is no error here."""

    server = Server((LOOPBACK, 0), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    told.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def at_loopback(*hosts: str) -> HostLookup:
    """These names are on this machine, and may be connected to."""
    resolver = FakeResolver({(host, "A"): [LOOPBACK] for host in hosts})
    return HostLookup(resolver, [ip_network("127.0.0.0/8")])
