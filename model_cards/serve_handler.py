"""Serves a folder with its handler over HTTP on this machine, as the endpoint's toolkit does; for tests and trials.

python -m model_cards.serve_handler MODEL --port 8080

The handler runs in few threads of its own, so that health checks are answered while it works. Unlike the toolkit,
which answers 400 to every error, it sends the status that the handler names.
"""

import importlib.util
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import tyro

CHUNK_BYTES = 65_536
# A body that is refused is still read, up to here and this long: a client that is cut off while sending sees no answer.
DISCARDED_BYTES = 100_000_000
DISCARD_SECONDS = 10.0


def load_handler(folder: Path) -> Any:
    """The `EndpointHandler` of a folder, loaded as the toolkit loads it: by path, outside any package."""
    spec = importlib.util.spec_from_file_location("handler", folder / "handler.py")
    if spec is None or spec.loader is None or not (folder / "handler.py").is_file():
        raise ValueError(f"{folder} has no handler.py; put it there with `model_cards.shipped_files.ship_handler`.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(folder))


class HandlerServer(ThreadingHTTPServer):
    """A server for one handler.

    Args:
        handler: An `EndpointHandler`.
        port: 0 for any.
        workers: Requests that are worked on at one time; others wait.
        max_body_bytes: Longer bodies are refused unread.
    """

    daemon_threads = True
    # Connections that wait to be accepted; of more than the library's five some are reset.
    request_queue_size = 128

    def __init__(self, handler: Any, port: int = 0, workers: int = 2, max_body_bytes: int = 20_000_000) -> None:
        super().__init__(("127.0.0.1", port), HandlerRequests)
        self.handler = handler
        self.workers = ThreadPoolExecutor(workers, "handler")
        self.max_body_bytes = max_body_bytes

    def server_close(self) -> None:
        super().server_close()
        self.workers.shutdown()


class HandlerRequests(BaseHTTPRequestHandler):
    """GET `/` and `/health`; POST `/` and `/predict`."""

    server: HandlerServer
    protocol_version = "HTTP/1.1"
    timeout = 30
    # Headers and body leave in one packet: with two, Nagle's rule waits for the other side's delayed confirmation.
    wbufsize = -1

    def do_GET(self) -> None:
        """Answers the health check."""
        if self.path in ("/", "/health"):
            self._send(200, b"Ok", "text/plain")
        else:
            self._refuse(404, "not_found", f"no page {self.path[:80]!r}; wanted GET /health or POST /.")

    def do_POST(self) -> None:
        """Answers a request."""
        body = self._body()
        if body is None:
            return
        try:
            data = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            self._refuse(400, "bad_json", f"the body is not JSON ({str(error)[:200]}); wanted an object in UTF-8.")
            return
        try:
            answer = self.server.workers.submit(self.server.handler, data).result()
        except self.server.handler.refusal as error:
            self._send_json(error.status, error.answer())
            return
        self._send_json(200, answer)

    def _body(self) -> bytes | None:
        """The body, or None after a refusal."""
        if self.path not in ("/", "/predict"):
            self.close_connection = True
            self._refuse(404, "not_found", f"no page {self.path[:80]!r}; wanted POST / or /predict.")
            return None
        declared = self.headers.get("Content-Length", "")
        if not declared.isascii() or not declared.isdecimal() or len(declared) > 15:
            self.close_connection = True
            self._refuse(411, "no_length", "the request has no Content-Length; wanted one, and no chunked body.")
            return None
        length = int(declared)
        if length > self.server.max_body_bytes:
            self.close_connection = True
            self._discard(length)
            most = self.server.max_body_bytes
            self._refuse(413, "too_large", f"the body has {length} bytes; the most is {most}.")
            return None
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return None
        return body

    def _discard(self, length: int) -> None:
        left, deadline = min(length, DISCARDED_BYTES), time.monotonic() + DISCARD_SECONDS
        while left > 0 and time.monotonic() < deadline:
            chunk = self.rfile.read1(min(left, CHUNK_BYTES))  # type: ignore[attr-defined]
            if not chunk:
                return
            left -= len(chunk)

    def _refuse(self, status: int, kind: str, message: str) -> None:
        self._send_json(status, {"error": {"type": kind, "message": message, "status": status}})

    def _send_json(self, status: int, answer: Any) -> None:
        self._send(status, json.dumps(answer).encode(), "application/json")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: a line per request tells nobody anything here."""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def main(model: Annotated[Path, tyro.conf.Positional], port: int = 8080, workers: int = 2) -> None:
    """Serves a folder on this machine.

    Args:
        model: Folder of a model with its handler.
        port: Port on 127.0.0.1.
        workers: Requests that are worked on at one time.
    """
    try:
        server = HandlerServer(load_handler(model), port, workers)
    except (ValueError, OSError) as error:
        sys.exit(f"cannot serve {model} on port {port}: {error}")
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
