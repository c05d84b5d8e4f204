"""Downloads one image from an address that a stranger wrote: to the IP address that was checked, within a deadline."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

from .addresses_handler import Address, IPAddress, IPNetwork, check_resolved, parse_address
from .limits_handler import Limits, RequestError, too_much, unusable

REDIRECTS = (301, 302, 303, 307, 308)
CHUNK_BYTES = 65_536
# An address that swallows packets may take this long when there is another one to try.
ATTEMPT_SECONDS = 3.0


def resolve_by_system(host: str) -> list[str]:
    """Addresses of a host as the system's resolver gives them; blocks."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class ImageFetcher:
    """Follows an https URL to an image.

    Args:
        limits: Bytes, redirects and characters.
        resolve: Host to IP addresses.
        allowed_networks: Addresses to connect to although they are not public.
        tls: Certificates to trust; those of the system when not given.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        resolve: Callable[[str], list[str]] = resolve_by_system,
        allowed_networks: tuple[IPNetwork, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._resolve = resolve
        self._allowed = allowed_networks
        self._tls = tls or ssl.create_default_context()
        # The system's resolver cannot be interrupted; a request does not wait for it beyond its deadline.
        self._resolvers = ThreadPoolExecutor(4, "resolver")

    def fetch(self, url: str, where: str, deadline: float) -> bytes:
        """The body behind a URL; `deadline` is a time of `time.monotonic`.

        Raises:
            RequestError: with what is wrong.
        """
        for _ in range(self._limits.redirects + 1):
            if len(url) > self._limits.url_characters:
                raise too_much(f"`{where}` leads to a URL of {len(url)} characters.")
            address = parse_address(url, where)
            location, body = self._get(address, where, deadline)
            if location is None:
                return body
            try:
                url = urljoin(str(address), location)
            except ValueError as error:
                raise unusable("bad_url", f"`{where}` redirects to something that is no URL.") from error
        raise unusable("url_failed", f"`{where}` redirects more than {self._limits.redirects} times.")

    def _get(self, address: Address, where: str, deadline: float) -> tuple[str | None, bytes]:
        addresses = self._look_up(address.host, where, deadline)
        try:
            connection = self._connect(addresses, address, deadline)
            with connection, _closing_at(deadline, connection):
                connection.do_handshake()
                return self._ask(connection, address, where)
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() >= deadline:
                raise _late(where) from error
            raise unusable(
                "url_failed", f"`{where}`: {address.host} did not answer ({type(error).__name__})."
            ) from error
        except RequestError as error:
            # A connection that is shut down at the deadline looks like one that ended early.
            if error.kind == "url_failed" and time.monotonic() >= deadline:
                raise _late(where) from error
            raise

    def _look_up(self, host: str, where: str, deadline: float) -> list[IPAddress]:
        try:
            found = self._resolvers.submit(self._resolve, host).result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            raise _late(where) from error
        except OSError as error:
            raise unusable("url_failed", f"`{where}`: the host {host} is not known.") from error
        return check_resolved(found, self._allowed, where)

    def _connect(self, addresses: list[IPAddress], address: Address, deadline: float) -> ssl.SSLSocket:
        for candidate in addresses[:-1]:
            seconds = min(ATTEMPT_SECONDS, deadline - time.monotonic())
            try:
                return self._open(candidate, address, seconds)
            except OSError:
                continue  # the last one says why
        return self._open(addresses[-1], address, deadline - time.monotonic())

    def _open(self, candidate: IPAddress, address: Address, seconds: float) -> ssl.SSLSocket:
        if seconds <= 0:
            raise TimeoutError
        plain = socket.create_connection((str(candidate), address.port), timeout=seconds)
        return self._tls.wrap_socket(plain, server_hostname=address.host, do_handshake_on_connect=False)

    def _ask(self, connection: ssl.SSLSocket, address: Address, where: str) -> tuple[str | None, bytes]:
        """Sends the request; returns where it redirects, or the body."""
        client = http.client.HTTPConnection(address.host, address.port)
        client.sock = connection
        client.putrequest("GET", address.target, skip_host=True, skip_accept_encoding=True)
        headers = {"Host": address.host_header, "Accept-Encoding": "identity", "Connection": "close"}
        for name, value in {**headers, "User-Agent": "rsclip-handler", "Accept": "image/*"}.items():
            client.putheader(name, value)
        client.endheaders()
        with client.getresponse() as response:
            location = response.getheader("Location")
            if response.status in REDIRECTS and location:
                return location, b""
            if response.status != 200:
                raise unusable("url_failed", f"`{where}`: {address.host} answers with status {response.status}.")
            if response.getheader("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
                raise unusable("url_failed", f"`{where}`: {address.host} sends a compressed body; wanted it plain.")
            return None, self._read(response, where)

    def _read(self, response: Any, where: str) -> bytes:
        most, declared = self._limits.image_bytes, response.length
        if declared is not None and declared > most:
            raise too_much(f"`{where}` has {declared} bytes; the most is {most}.")
        body = bytearray()
        while chunk := response.read(CHUNK_BYTES):
            body += chunk
            if len(body) > most:
                raise too_much(f"`{where}` has more than {most} bytes.")
        if not body or (declared is not None and len(body) != declared):
            raise unusable("url_failed", f"`{where}`: the answer ends after {len(body)} bytes.")
        return bytes(body)


@contextmanager
def _closing_at(deadline: float, connection: ssl.SSLSocket) -> Iterator[None]:
    """Shuts a connection down at the deadline: timeouts of sockets start anew with every byte that drips in."""

    def shut_down() -> None:
        try:
            # Not SSLSocket's own, which would pull the TLS state from under the thread that reads.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        except OSError:
            return  # closed already

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _late(where: str) -> RequestError:
    return unusable("url_timeout", f"`{where}` was not downloaded in time.")


__all__ = ["ImageFetcher", "resolve_by_system"]
