"""An HTTP client for addresses written by strangers: it connects only to the IP address that was checked.

httpcore2 (it comes with huggingface_hub) has one place where sockets are opened, the network backend, so the check
sits there, for first addresses and redirects alike, and the certificate is still checked by host name. aiohttp skips
its resolver for literal addresses; httpx2 would add redirects, decompression and environment proxies to be undone.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpcore2

from .public_addresses import IPAddress, IPNetwork, WebAddress, check_resolved

Resolve = Callable[[str], Sequence[str]]

_REDIRECTS = (301, 302, 303, 307, 308)
_ACCEPT = "image/jpeg, image/png, image/tiff, image/webp, */*;q=0.1"
_KEEPALIVE_SECONDS = 5.0
# An address that swallows packets may take this long when there is another one to try.
_ATTEMPT_SECONDS = 5.0
# Enough to tell an image from a page.
_HEAD_BYTES = 512


class FetchError(Exception):
    """An address whose answer is not kept; `reason` is one of the reasons of `download`."""

    def __init__(self, reason: str, detail: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        """What the server asked for, if it did."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200 with its body, or a redirect with its location."""

    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""
    body: bytes = b""
    location: str | None = None


JudgeHead = Callable[[Sequence[tuple[str, str]], bytes], None]
"""Raises FetchError when headers and first bytes show that the body is not worth reading."""


def resolve_by_system(host: str) -> list[str]:
    """Addresses of a host as the system's resolver gives them; blocks."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class WebClient:
    """Kept connections for one batch; an async context manager."""

    def __init__(
        self,
        *,
        user_agent: str,
        max_connections: int,
        allowed_networks: Iterable[IPNetwork] = (),
        resolve: Resolve = resolve_by_system,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._headers = [("User-Agent", user_agent), ("Accept", _ACCEPT), ("Accept-Encoding", "identity")]
        # The system's resolver blocks. Its threads are ours, so that asyncio.run does not wait for a dead nameserver,
        # and as many as images, so that slow names do not keep the others waiting.
        self._resolver_threads = ThreadPoolExecutor(max_connections, "resolver")
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=max_connections,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=_CheckedBackend(resolve, self._resolver_threads, tuple(allowed_networks)),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.aclose()
        self._resolver_threads.shutdown(wait=False, cancel_futures=True)

    async def get(self, address: WebAddress, max_bytes: int, judge_head: JudgeHead, *, cut: bool = False) -> Answer:
        """Ask for an address once. Redirects are returned, not followed; time is the caller's to bound.

        Args:
            address: What to ask for.
            max_bytes: Most bytes of a body.
            judge_head: Called with the headers and no bytes, and again with the first bytes.
            cut: Return the first `max_bytes` of a longer body instead of raising.

        Raises:
            FetchError, RefusedAddressError: with the reason.
        """
        request = httpcore2.Request(
            "GET",
            httpcore2.URL(scheme=address.scheme, host=address.host, port=address.port, target=address.target),
            headers=[("Host", address.host_header), *self._headers],
        )
        try:
            response = await self._pool.handle_async_request(request)
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
            raise _connect_error(address, error) from error
        except (httpcore2.NetworkError, OSError) as error:
            raise FetchError("incomplete", f"{address.host} broke off before its answer") from error
        except httpcore2.ProtocolError as error:
            # The library has one class for a connection closed early, which passes, and for nonsense, which stays.
            reason = "incomplete" if "disconnected" in str(error) else "bad_response"
            raise FetchError(reason, f"{address.host}: {error}") from error
        try:
            return await _read(address, response, max_bytes, judge_head, cut)
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise FetchError("incomplete", f"{address}: {error}") from error
        finally:
            await response.aclose()


async def _read(
    address: WebAddress, response: httpcore2.Response, max_bytes: int, judge_head: JudgeHead, cut: bool
) -> Answer:
    """Judge status and headers, then read the body, counting."""
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers)
    first = dict(reversed(headers))
    status = response.status
    if status in _REDIRECTS and "location" in first:
        judge_head(headers, b"")
        return Answer(headers, location=first["location"])
    _judge_status(address, status, first.get("retry-after"))
    judge_head(headers, b"")
    for name, value in headers:
        if name == "content-encoding" and value.strip().lower() not in ("identity", ""):
            raise FetchError("encoded_body", f"Content-Encoding: {value[:60]}")
    declared = first.get("content-length", "")
    if not cut and declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise FetchError("too_large", f"{declared[:20]} bytes declared; the most is {max_bytes}")
    body = bytearray()
    judged = False
    async for chunk in response.aiter_stream():
        body += chunk
        if not judged and len(body) >= _HEAD_BYTES:
            judge_head(headers, bytes(body[:_HEAD_BYTES]))
            judged = True
        if len(body) > max_bytes:
            if cut:
                return Answer(headers, bytes(body[:max_bytes]))
            raise FetchError("too_large", f"more than {max_bytes} bytes")
    if body and not judged:
        judge_head(headers, bytes(body))
    return Answer(headers, bytes(body))


def _judge_status(address: WebAddress, status: int, retry_after: str | None) -> None:
    """Return for 200, raise for everything else."""
    if status == 200:
        return
    detail = f"{status} from {address.host}"
    if status == 429:
        raise FetchError("too_many_requests", detail, _seconds_until(retry_after))
    if status >= 500:
        raise FetchError("server_error", detail, _seconds_until(retry_after))
    if status == 408:
        raise FetchError("incomplete", detail)
    raise FetchError("http_4xx" if status >= 400 else "bad_response", detail)


def _seconds_until(retry_after: str | None) -> float | None:
    """Read a Retry-After, in seconds or as a date; None where it is neither."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after.strip()[:10])
    try:
        when = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _connect_error(address: WebAddress, error: BaseException) -> FetchError:
    """Tell a certificate that does not hold from a host that does not answer."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return FetchError("tls_failure", f"{address.host}: {getattr(cause, 'verify_message', None) or cause}")
        cause = cause.__cause__ or cause.__context__
    return FetchError("connect_failure", f"{address.host}:{address.port}: {error}")


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens sockets to checked addresses. A host is resolved once in a batch, whoever asks for it."""

    def __init__(self, resolve: Resolve, threads: ThreadPoolExecutor, allowed: tuple[IPNetwork, ...]) -> None:
        self._resolve = resolve
        self._threads = threads
        self._allowed = allowed
        self._inner = httpcore2.AnyIOBackend()
        self._resolved: dict[str, asyncio.Future[Sequence[str] | FetchError]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers."""
        addresses = await self._addresses(host)
        for address in addresses[:-1]:
            try:
                return await self._connect(address, port, _ATTEMPT_SECONDS)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._connect(addresses[-1], port, timeout)

    async def _connect(self, address: IPAddress, port: int, seconds: float | None) -> httpcore2.AsyncNetworkStream:
        return _OwnedStream(await self._inner.connect_tcp(str(address), port, timeout=seconds))

    async def _addresses(self, host: str) -> tuple[IPAddress, ...]:
        if host not in self._resolved:
            loop = asyncio.get_running_loop()
            self._resolved[host] = loop.run_in_executor(self._threads, self._look_up, host)
        # Shielded: one image that runs out of time does not take the answer from the others.
        found = await asyncio.shield(self._resolved[host])
        if isinstance(found, FetchError):
            raise FetchError(found.reason, found.detail)
        return check_resolved(host, found, self._allowed)

    def _look_up(self, host: str) -> Sequence[str] | FetchError:
        """Runs in a thread; a failure is a value, so that one nobody waits for any more is not logged as lost."""
        try:
            found = self._resolve(host)
        except socket.gaierror as error:
            return FetchError("dns_failure", f"{host}: {error.strerror}")
        except UnicodeError as error:
            return FetchError("bad_url", f"host {host[:60]!r}: {error}")
        return found or FetchError("dns_failure", f"{host}: no address")


class _OwnedStream(httpcore2.AsyncNetworkStream):
    """A connection that is closed when its TLS handshake is cancelled; the library would lose sight of it."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._inner.aclose()
            raise

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
