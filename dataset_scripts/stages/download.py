"""Downloads a batch of images from addresses written by strangers: bounded in time and size, polite, and repeatable.

Not img2dataset: it pins pandas 2, re-encodes, reads file:// and private addresses (also through redirects), and its
timeout is one per socket read, so that a byte now and then keeps it waiting for ever; it retries nothing on a rerun.
"""

import asyncio
import hashlib
import re
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin

from . import public_addresses
from .download_limits import DEFAULT_LIMITS, DownloadLimits
from .opt_out import find_opt_out
from .public_addresses import RefusedAddressError, WebAddress, parse_web_address
from .rejects import Reject
from .robots_rules import MAX_ROBOTS_BYTES, RobotsRules, parse_robots
from .web_client import Answer, FetchError, Resolve, WebClient, resolve_by_system

# May be different tomorrow, or is a fault on our side (a nameserver, the list of authorities): a rerun tries again.
TRANSIENT_REASONS = (
    "dns_failure",
    "connect_failure",
    "tls_failure",
    "timeout",
    "server_error",
    "too_many_requests",
    "incomplete",
    "host_unavailable",
)
# What the address is; a rerun does not ask again.
PERMANENT_REASONS = (
    *public_addresses.REASONS,
    "http_4xx",
    "too_many_redirects",
    "too_large",
    "encoded_body",
    "empty_body",
    "not_an_image",
    "bad_response",
    "opted_out",
    "robots_txt",
    "content_changed",
)
REASONS = TRANSIENT_REASONS + PERMANENT_REASONS

# Worth a second try at once. The system's resolver has tried again itself, and a timeout has used the time up.
_RETRIED_REASONS = frozenset({"connect_failure", "server_error", "too_many_requests", "incomplete"})
# Say that the host as a whole does not answer.
_HOST_REASONS = frozenset({"dns_failure", "connect_failure", "tls_failure", "timeout", "too_many_requests"})

_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"RIFF")
_TEXT_TYPE = re.compile(r"text/|application/(?:[\w.-]+\+)?(?:json|xml)\b|application/xhtml|application/javascript")
# Control characters that no text has, as browsers sniff it.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadRequest:
    """One image to fetch, and the hash that its source published, if it did."""

    url: str
    sha256: str | None = None
    md5: str | None = None

    def __post_init__(self) -> None:
        for name, value, digits in (("sha256", self.sha256, 64), ("md5", self.md5, 32)):
            if value is not None and not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", value):
                raise ValueError(f"{name} of {self.url[:100]!r} is {value!r}; it must be {digits} hexadecimal digits.")


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The bytes behind an address."""

    row: int
    data: bytes
    sha256: str
    url: str
    """Where they came from, after redirects."""


def is_transient(reason: str) -> bool:
    """Whether a rerun should ask again.

    Raises:
        ValueError: `reason` is not one of REASONS.
    """
    if reason not in REASONS:
        raise ValueError(f"{reason!r} is not a reason of the download; those are {', '.join(REASONS)}.")
    return reason in TRANSIENT_REASONS


def download_images(
    requests: Sequence[DownloadRequest],
    limits: DownloadLimits = DEFAULT_LIMITS,
    *,
    resolve: Resolve = resolve_by_system,
    tls: ssl.SSLContext | None = None,
) -> tuple[list[Downloaded], list[Reject]]:
    """Fetch a batch; both lists are in the order of the rows.

    Args:
        requests: The images; a row is the position here.
        limits: What it may cost.
        resolve: Addresses of a host name, or socket.gaierror; called in a thread. Its answers are checked.
        tls: Authorities that are trusted; those of the system if not given.
    """
    return asyncio.run(download_images_async(requests, limits, resolve=resolve, tls=tls))


async def download_images_async(
    requests: Sequence[DownloadRequest],
    limits: DownloadLimits = DEFAULT_LIMITS,
    *,
    resolve: Resolve = resolve_by_system,
    tls: ssl.SSLContext | None = None,
) -> tuple[list[Downloaded], list[Reject]]:
    """The same for callers that are in an event loop, such as a notebook."""
    client = WebClient(
        user_agent=limits.user_agent,
        max_connections=limits.concurrency,
        allowed_networks=limits.allowed_networks,
        resolve=resolve,
        tls=tls,
    )
    async with client:
        batch = _Batch(client, limits)
        results = await asyncio.gather(*(batch.fetch(row, request) for row, request in enumerate(requests)))
    kept = [result for result in results if isinstance(result, Downloaded)]
    return kept, [result for result in results if isinstance(result, Reject)]


@dataclass
class _Budget:
    """What one image has left."""

    seconds: float
    retries: int

    @asynccontextmanager
    async def running(self, what: str) -> AsyncIterator[None]:
        """Count the time inside, and end it when there is none left."""
        start = time.monotonic()
        try:
            async with asyncio.timeout(self.seconds):
                yield
        except TimeoutError as error:
            raise FetchError("timeout", f"no whole answer in time from {what}") from error
        finally:
            self.seconds -= time.monotonic() - start


@dataclass
class _Host:
    slots: asyncio.Semaphore
    failures: int = 0
    """Failures in a row."""


@dataclass
class _Batch:
    client: WebClient
    limits: DownloadLimits
    hosts: dict[str, _Host] = field(default_factory=dict)
    robots: dict[tuple[str, str, int], asyncio.Task[RobotsRules | FetchError]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.limits.concurrency)

    async def fetch(self, row: int, request: DownloadRequest) -> Downloaded | Reject:
        """One row, to its end."""
        try:
            address = parse_web_address(request.url)
            answer, address = await self._follow(address, self._budget(), checks_robots=self.limits.honours_robots_txt)
            if not answer.body:
                raise FetchError("empty_body", f"0 bytes from {address.host}")
            sha256 = _check_content(answer.body, request)
        except (FetchError, RefusedAddressError) as error:
            return Reject(row, error.reason, error.detail[:300])
        return Downloaded(row, answer.body, sha256, str(address))

    def _budget(self) -> _Budget:
        return _Budget(self.limits.timeout_seconds, self.limits.retries)

    async def _follow(
        self, address: WebAddress, budget: _Budget, *, checks_robots: bool, is_robots: bool = False
    ) -> tuple[Answer, WebAddress]:
        """Visit an address and those that it redirects to; each is checked like the first."""
        for _ in range(self.limits.max_redirects + 1):
            if checks_robots:
                await self._check_robots(address)
            answer = await self._visit(address, budget, is_robots)
            if answer.location is None:
                return answer, address
            # Bytes outside ASCII are sent as they are by some servers; they are kept, percent-encoded.
            location = quote(answer.location.encode("latin-1"), safe="".join(map(chr, range(128))))
            try:
                address = parse_web_address(urljoin(str(address), location))
            except ValueError as error:
                raise FetchError("bad_url", f"redirect from {address.host}: {error}") from error
        raise FetchError("too_many_redirects", f"more than {self.limits.max_redirects}, the last to {address}")

    async def _visit(self, address: WebAddress, budget: _Budget, is_robots: bool) -> Answer:
        """Visit one address in its turn, again if the failure may pass and there is time."""
        host = self.hosts.setdefault(address.host, _Host(asyncio.Semaphore(self.limits.connections_per_host)))
        while True:
            # A row that waits for its host does not hold a place that another host could use.
            async with host.slots, self.slots:
                if host.failures >= self.limits.max_host_failures:
                    raise FetchError("host_unavailable", f"{address.host} failed {host.failures} times in a row")
                try:
                    async with budget.running(address.host):
                        answer = await self._get(address, is_robots)
                except FetchError as error:
                    failure = error
                    host.failures = host.failures + 1 if error.reason in _HOST_REASONS else 0
                else:
                    host.failures = 0
                    return answer
            pause = failure.retry_after_seconds
            pause = self.limits.retry_pause_seconds if pause is None else pause
            if failure.reason not in _RETRIED_REASONS or not budget.retries or pause >= budget.seconds:
                raise failure
            budget.retries -= 1
            budget.seconds -= pause
            await asyncio.sleep(pause)

    async def _get(self, address: WebAddress, is_robots: bool) -> Answer:
        if is_robots:
            return await self.client.get(address, MAX_ROBOTS_BYTES, lambda headers, head: None, cut=True)
        return await self.client.get(address, self.limits.max_bytes, self._judge_head)

    def _judge_head(self, headers: Sequence[tuple[str, str]], head: bytes) -> None:
        """Refuse what its publisher reserves, and text under any name."""
        if opted := find_opt_out(headers, self.limits.user_agent):
            raise FetchError("opted_out", opted)
        if not head or head.startswith(_IMAGE_STARTS):
            return  # Servers that send images as text/plain are common, so the bytes go before the type.
        content_type = next((value for name, value in headers if name == "content-type"), "")
        if _TEXT_TYPE.match(content_type.strip().lower()) or not _BINARY.search(head):
            raise FetchError("not_an_image", f"{content_type[:60] or 'no type'}, begins with {head[:40]!r}")

    async def _check_robots(self, address: WebAddress) -> None:
        """Raise if the site does not want its address fetched, or does not say."""
        origin = (address.scheme, address.host, address.port)
        if origin not in self.robots:
            self.robots[origin] = asyncio.create_task(self._load_robots(address))
        rules = await self.robots[origin]
        if isinstance(rules, FetchError):
            raise FetchError(rules.reason, f"robots.txt: {rules.detail}")
        if not rules.allows(address.target):
            raise FetchError("robots_txt", f"{address.host} disallows {address.target[:150]}")

    async def _load_robots(self, address: WebAddress) -> RobotsRules | FetchError:
        """Fetch the rules of a site: none if there is no file, a failure if it cannot be had (RFC 9309, 2.3.1)."""
        where = WebAddress(address.scheme, address.host, address.port, "/robots.txt")
        try:
            answer, _ = await self._follow(where, self._budget(), checks_robots=False, is_robots=True)
        except (FetchError, RefusedAddressError) as error:
            return error if isinstance(error, FetchError) and is_transient(error.reason) else RobotsRules()
        return parse_robots(answer.body.decode("utf-8", "replace"), self.limits.user_agent)


def _check_content(data: bytes, request: DownloadRequest) -> str:
    """Return the SHA-256 if the bytes are those that were published."""
    sha256 = hashlib.sha256(data).hexdigest()
    if request.sha256 is not None and sha256 != request.sha256.lower():
        raise FetchError("content_changed", f"SHA-256 is {sha256}, published was {request.sha256.lower()}")
    if request.md5 is not None:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if md5 != request.md5.lower():
            raise FetchError("content_changed", f"MD5 is {md5}, published was {request.md5.lower()}")
    return sha256
