"""A man in the middle who takes STARTTLS out of what servers offer."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_OFFER = b"250-STARTTLS\r\n"


@contextmanager
def stripping(address: str, port: int, server: tuple[str, int]) -> Iterator[list[bytes]]:
    """Stands at that address before the server; what clients have said is in the list."""
    said: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(server, timeout=10) as behind:
                answers = threading.Thread(target=self._answers, args=(behind,))
                answers.start()
                with contextlib.suppress(OSError):
                    while octets := self.request.recv(65_536):
                        said.append(octets)
                        behind.sendall(octets)
                    behind.shutdown(socket.SHUT_WR)
                answers.join()

        def _answers(self, behind: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while octets := behind.recv(65_536):  # Postfix writes its answer to EHLO at once
                    self.request.sendall(octets.replace(_OFFER, b""))
                self.request.shutdown(socket.SHUT_RDWR)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Who hangs up is no error here."""

    with Server((address, port), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield said
        finally:
            running.shutdown()
            thread.join()
