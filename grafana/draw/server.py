"""Serves the page on loopback, beside what it shall draw."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("page")


class _Handler(SimpleHTTPRequestHandler):
    """`/NAME/plan.json` is the plan of that name, `/uplot/` the library, all else the page."""

    def __init__(self, plans: Mapping[str, Any], library: Path, *arguments: Any) -> None:
        self._plans = plans
        self._library = library
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answers a plan itself; files are its base's business."""
        name, _, file = self.path[1:].partition("/")
        if file != "plan.json":
            super().do_GET()
        elif name in self._plans:
            self._say(json.dumps(self._plans[name]).encode())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def translate_path(self, path: str) -> str:
        """The file behind a path: the folder is one of two, and never another."""
        name, _, file = path[1:].partition("/")
        folder = self._library if name == "uplot" else PAGE
        return str(folder / (Path(file).name or "index.html"))

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""

    def _say(self, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serve(plans: Mapping[str, Any], library: Path) -> Iterator[str]:
    """The address below which each plan's name leads to its page. library: uPlot's files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, plans, library))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="page")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
