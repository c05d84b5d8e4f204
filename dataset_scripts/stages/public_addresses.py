"""Which web addresses may be visited: http and https, no user name in them, and only hosts of the public internet.

A list of image addresses is written by strangers. An address may name this machine, its network or its cloud's
metadata service, in decimal, in octal, inside IPv6, by a name that resolves there or by a redirect; the decision is
therefore made on the resolved IP address, and the connection goes to that one.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

REASONS = ("bad_url", "private_address")

MAX_URL_CHARACTERS = 8192
# IANA's special-purpose registry, written out: `is_global` of Python's ipaddress changed between patch releases.
_SPECIAL_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; one cloud keeps its metadata service here
        "127.0.0.0/8",
        "168.63.129.16/32",  # a public address that inside Azure is the host of the virtual machine
        "169.254.0.0/16",  # link-local, metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_UNICAST_IPV6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address, private ones too, behind a relay
        "3fff::/20",  # documentation
    )
)
# On a network without IPv4 all IPv4 hosts are seen through this prefix, so its last four bytes are judged.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CONTROL_OR_SURROGATE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
# Underscores are not in the standard for host names, and are in use.
_HOST_NAME = re.compile(r"[a-z0-9_.-]{1,253}")
# Everything that has a meaning in a path or query; the rest, other alphabets and blanks, is percent-encoded.
_TARGET_SAFE = "%/?:@!$&'()*+,;=-._~[]|^`{}\"<>"


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL that may be visited if its host turns out to be public."""

    scheme: str
    host: str
    """In ASCII and lower case; IPv6 without brackets."""
    port: int
    target: str
    """Path and query, percent-encoded."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"

    @property
    def host_header(self) -> str:
        """What the server is told that it is called."""
        return str(self).split("/", 3)[2]


class RefusedAddressError(ValueError):
    """An address that is not visited; `reason` is one of REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def parse_web_address(url: str) -> WebAddress:
    """Take a URL apart. The request is built from the parts, so no second parser can read it another way.

    Raises:
        RefusedAddressError: the URL is not one of http or https with a plain host.
    """
    text = url.strip(" ")
    if len(text) > MAX_URL_CHARACTERS:
        raise _bad(f"{len(text)} characters; the most is {MAX_URL_CHARACTERS}", text)
    if _CONTROL_OR_SURROGATE.search(text):
        raise _bad("control characters or half characters", text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _bad(str(error), text) from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise _bad(f"scheme {parts.scheme!r}; http and https are fetched", text)
    if "@" in parts.netloc or "\\" in parts.netloc:
        raise _bad("a user name or a backslash before the host", text)
    if port == 0:
        raise _bad("port 0", text)
    host = _ascii_host(parts.hostname or "", text)
    target = quote(parts.path or "/", safe=_TARGET_SAFE) + (
        f"?{quote(parts.query, safe=_TARGET_SAFE)}" if parts.query else ""
    )
    return WebAddress(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], target)


def is_public(address: str | IPAddress) -> bool:
    """Whether an IP address is one of the public internet, and not of this machine, its network or a special use."""
    ip = ipaddress.ip_address(address) if isinstance(address, str) else address
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _SPECIAL_IPV4)
    if ip.scope_id is not None:
        return False
    if ip.ipv4_mapped is not None:
        return is_public(ip.ipv4_mapped)
    if ip in _NAT64:
        return is_public(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return ip in _GLOBAL_UNICAST_IPV6 and not any(ip in network for network in _SPECIAL_IPV6)


def check_resolved(
    host: str, addresses: Sequence[str], allowed_networks: Iterable[IPNetwork] = ()
) -> tuple[IPAddress, ...]:
    """Return the addresses that a host resolved to, IPv4 first, if every one of them may be connected to.

    One private address among public ones is enough to refuse the host: no honest site is set up that way.

    Raises:
        RefusedAddressError: one is neither public nor in `allowed_networks`.
    """
    networks = tuple(allowed_networks)
    checked = []
    for text in addresses:
        ip = ipaddress.ip_address(text)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if not is_public(ip) and not any(ip in network for network in networks):
            raise RefusedAddressError("private_address", f"{host} is {text}")
        checked.append(ip)
    return tuple(sorted(dict.fromkeys(checked), key=lambda ip: ip.version))


def _ascii_host(host: str, url: str) -> str:
    """Encode a host of another alphabet; full-width digits and dots become ASCII, and are judged as what they are."""
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host if "%" not in host else ""))
        except ValueError as error:
            raise _bad(f"host {host[:60]!r} is no IPv6 address", url) from error
    if not host.isascii():
        try:
            host = idna.encode(host[:254], uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise _bad(f"host {host[:60]!r}: {error}", url) from error
    # The dot of an absolute name is not in certificates.
    host = host.lower().removesuffix(".")
    if not _HOST_NAME.fullmatch(host) or not all(1 <= len(label) <= 63 for label in host.split(".")):
        raise _bad(f"host {host[:60]!r} is not a host name", url)
    return host


def _bad(why: str, url: str) -> RefusedAddressError:
    return RefusedAddressError("bad_url", f"{why}: {url[:200]!r}")
