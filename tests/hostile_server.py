"""A web server that behaves badly in every way we know of, and a canary that nobody may connect to.

The server listens on ALLOWED_ADDRESS, which a test allows; the canary listens on every other address of this
machine. Hosts are names under `.test`; what a host does is the first part of its name.
"""

import asyncio
import contextlib
import gzip
import socket
import threading
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable

ALLOWED_ADDRESS = "127.9.9.9"
ALLOWED_NETWORK = f"{ALLOWED_ADDRESS}/32"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 20 + b"\xff\xd9"
MEGABYTE = b"\xff\xd8\xff\x00" * 262_144

Writer = asyncio.StreamWriter
Handler = Callable[[Writer, str], Awaitable[None]]


def resolve(host: str) -> list[str]:
    """Names under `.test` are the server; some say they are elsewhere; numbers are what the system makes of them."""
    planted = {
        "private.test": ["10.0.0.1"],
        "loopback.test": ["127.0.0.1"],
        "mixed.test": ["93.184.216.34", "127.0.0.1"],
        "mixed6.test": ["2606:2800:220:1::1", "::1"],
        "metadata.test": ["169.254.169.254"],
        "nowhere.test": [],
    }
    if host in planted:
        return planted[host]
    if host == "nxdomain.test":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if host.endswith(".test"):
        return [ALLOWED_ADDRESS]
    flags = 0 if host.split(".")[0] == "localhost" else socket.AI_NUMERICHOST
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)]


class HostileServer:
    """A context manager; `port` is the server's, `canary_port` that of the canary."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.hosts_now: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self.canary_connections = 0
        self.seen_headers: dict[str, str] = {}
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> "HostileServer":
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def url(self, host: str, path: str = "/image.jpg") -> str:
        """Where a host does what its name says."""
        return f"http://{host}.test:{self.port}{path}"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._answer, ALLOWED_ADDRESS, 0)
        self.port = server.sockets[0].getsockname()[1]
        canary = await asyncio.start_server(self._sing, None, 0)
        ports = {listener.getsockname()[1] for listener in canary.sockets}
        if len(ports) > 1:  # IPv4 and IPv6 each got their own; one number for both.
            canary.close()
            canary = await asyncio.start_server(self._sing, None, min(ports))
        self.canary_port = min(ports)
        self._started.set()
        await self._stop.wait()
        canary.close()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _sing(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.canary_connections += 1
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                path, host = first.split(" ")[1], headers["host"].split(":")[0]
                kind = host.split(".")[0]
                self.hits[f"{kind}{path}"] += 1
                self.seen_headers = headers
                self.hosts_now[kind] += 1
                self.most_at_once[kind] = max(self.most_at_once[kind], self.hosts_now[kind])
                try:
                    if path == "/robots.txt":
                        await self._robots(writer, kind)
                    else:
                        await self._behave(writer, kind, path)
                finally:
                    self.hosts_now[kind] -= 1
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    async def _robots(self, writer: Writer, kind: str) -> None:
        match kind:
            case "robots":
                _send(writer, b"User-agent: *\nDisallow: /secret/\nDisallow: /*.gif$\n")
            case "robots-broken":
                _send(writer, b"", status="503 Busy")
            case "robots-huge":
                _send(writer, b"# \n" * 400_000)
            case _:
                _send(writer, b"", status="404 Not Found")

    async def _behave(self, writer: Writer, kind: str, path: str) -> None:
        canary = f"127.0.0.1:{self.canary_port}"
        redirects = {
            "to-canary": f"http://{canary}/",
            "to-canary-decimal": f"http://2130706433:{self.canary_port}/",
            "to-canary-name": f"http://loopback.test:{self.canary_port}/",
            "to-canary-mapped": f"http://[::ffff:127.0.0.1]:{self.canary_port}/",
            "to-canary-slashes": f"//{canary}/",
            "to-metadata": "http://169.254.169.254/latest/meta-data/",
            "to-file": "file:///etc/passwd",
            "to-data": "data:image/jpeg;base64,/9j/4AAQ",
            "to-ftp": "ftp://127.0.0.1/",
            "to-user": "http://user:word@good.test/",
            "to-nothing": "http:///",
            "to-unicode": "http://\u2028/\u00ff",
            "loop": path,
            "hops": f"/{int(path.strip('/') or 0) - 1}" if path.strip("/").isdigit() else "/image.jpg",
            "to-good": f"http://good.test:{self.port}/found.jpg",
            "ping": f"http://pong.test:{self.port}/",
            "pong": f"http://ping.test:{self.port}/",
        }
        if kind == "hops" and path == "/0":
            _send(writer, JPEG)
        elif kind in redirects:
            _send(writer, b"", status="302 Found", headers=f"Location: {redirects[kind]}\r\n")
        elif kind.startswith("status-"):
            _send(writer, b"gone", status=f"{kind[7:]} X")
        elif kind in _BEHAVIOURS:
            await _BEHAVIOURS[kind](writer, path)
        elif kind == "flaky" and self.hits[f"{kind}{path}"] == 1:
            _send(writer, b"", status="503 Busy", headers="Retry-After: 0\r\n")
        elif kind == "later":
            _send(writer, b"", status="429 Slow", headers="Retry-After: 3600\r\n")
        elif kind == "dated":
            _send(writer, b"", status="429 Slow", headers="Retry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\n")
        else:
            await asyncio.sleep(0.01)
            _send(writer, JPEG + path.encode())


def _send(writer: Writer, body: bytes, *, status: str = "200 OK", headers: str = "") -> None:
    length = f"Content-Length: {len(body)}\r\n"
    writer.write(f"HTTP/1.1 {status}\r\n{length}{headers}\r\n".encode() + body)


async def _cut(writer: Writer, text: bytes) -> None:
    """Send, and close."""
    writer.write(text)
    await writer.drain()
    writer.close()
    raise OSError("closed")


async def _pour(writer: Writer, head: bytes, chunk: bytes, times: int, pause: float = 0.0) -> None:
    writer.write(head)
    for _ in range(times):
        writer.write(chunk)
        await writer.drain()
        await asyncio.sleep(pause)


def _text(body: bytes, content_type: str) -> Handler:
    async def answer(writer: Writer, path: str) -> None:
        _send(writer, body, headers=f"Content-Type: {content_type}\r\n")

    return answer


def _raw(text: bytes) -> Handler:
    return lambda writer, path: _cut(writer, text)


def _slow(head: bytes, chunk: bytes, times: int, pause: float = 0.0) -> Handler:
    return lambda writer, path: _pour(writer, head, chunk, times, pause)


async def _reset(writer: Writer, path: str) -> None:
    linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    raise OSError("reset")


_OK = b"HTTP/1.1 200 OK\r\n"
_GZIPPED = gzip.compress(bytes(20_000_000))
_BEHAVIOURS: dict[str, Handler] = {
    "html": _text(b"<!doctype html><title>Not here</title>", "text/html"),
    "html-as-jpeg": _text(b"<html>" + b"x" * 5000, "image/jpeg"),
    "json": _text(b'{"error": "no"}', "application/json; charset=utf-8"),
    "json-as-jpeg": _text(b'{"error": "no"}', "image/jpeg"),
    "utf16-html": _text("<html>no</html>".encode("utf-16"), "text/html"),
    "jpeg-as-text": _text(JPEG, "text/plain"),
    "octets": _text(JPEG, "application/octet-stream"),
    "empty": _text(b"", "image/jpeg"),
    "gzip": lambda writer, path: _encoded(writer, "gzip", _GZIPPED),
    "brotli": lambda writer, path: _encoded(writer, "br", JPEG),
    "deflate": lambda writer, path: _encoded(writer, "identity, deflate", zlib.compress(JPEG)),
    "identity": lambda writer, path: _encoded(writer, "identity", JPEG),
    "truncated": _raw(_OK + b"Content-Length: 9999\r\n\r\n" + JPEG),
    "chunk-cut": _raw(_OK + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + JPEG),
    "chunk-nonsense": _raw(_OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + JPEG),
    "transfer-gzip": _raw(_OK + b"Transfer-Encoding: gzip\r\n\r\n" + JPEG),
    "two-lengths": _raw(_OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + JPEG),
    "negative-length": _raw(_OK + b"Content-Length: -5\r\n\r\n" + JPEG),
    "not-http": _raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "closed": _raw(b""),
    "half-head": _raw(_OK + b"Content-Le"),
    "no-length": _raw(_OK + b"\r\n" + JPEG),
    "http10": _raw(b"HTTP/1.0 200 OK\r\n\r\n" + JPEG),
    "partial": _raw(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\n\xff\xd8\xff"),
    "no-location": _raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"),
    "many-100": _slow(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 10**9, 0.001),
    "upgrade": _raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "huge-headers": _slow(_OK, b"X-Filler: " + b"a" * 4000 + b"\r\n", 10**9),
    "declared-huge": _slow(_OK + b"Content-Length: 600000000\r\n\r\n", MEGABYTE, 600),
    "undeclared-huge": _slow(_OK + b"\r\n", MEGABYTE, 600),
    "absurd-length": _slow(_OK + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", MEGABYTE, 600),
    "chunked-huge": _slow(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + MEGABYTE + b"\r\n", 600),
    "endless": _slow(_OK + b"\r\n" + JPEG, b"\xff", 10**9, 0.001),
    "drip": _slow(_OK + b"Content-Length: 5000\r\n\r\n", b"\xff", 10**9, 0.5),
    "drip-head": _slow(_OK, b"X", 10**9, 0.5),
    "stalled": _slow(b"", b"", 10**9, 1.0),
    "stalled-body": _slow(_OK + b"Content-Length: 5000\r\n\r\n\xff\xd8\xff", b"", 10**9, 1.0),
    "reset": _reset,
    "noai": _raw(_OK + b"X-Robots-Tag: noai\r\nContent-Length: 3\r\n\r\n\xff\xd8\xff"),
    "tdm": _raw(_OK + b"TDM-Reservation: 1\r\nContent-Length: 3\r\n\r\n\xff\xd8\xff"),
    "noai-redirect": _raw(b"HTTP/1.1 302 Found\r\nX-Robots-Tag: noai\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
}


async def _encoded(writer: Writer, coding: str, body: bytes) -> None:
    _send(writer, body, headers=f"Content-Encoding: {coding}\r\nContent-Type: image/jpeg\r\n")
