"""Which addresses the endpoint may connect to: https, a plain host, and only IP addresses of the public internet.

A URL may name this machine, its network or its cloud's metadata service, in decimal, inside IPv6, by a name that
resolves there or by a redirect; so the decision is made on the resolved address, and the connection goes to that one.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from .limits_handler import RequestError, unusable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# IANA's special-purpose registry, written out: `is_global` of Python's ipaddress changed between patch releases.
# 168.63.129.16 is public, and inside Azure the host of the virtual machine.
SPECIAL_IPV4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
    "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
)
GLOBAL_UNICAST_IPV6 = ipaddress.IPv6Network("2000::/3")
SPECIAL_IPV6 = "2001::/23 2001:db8::/32 2002::/16 3fff::/20"
# On a network without IPv4 all IPv4 hosts are seen through this prefix, so its last four bytes are judged.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SPECIAL_IPV4 = tuple(ipaddress.IPv4Network(network) for network in SPECIAL_IPV4.split())
_SPECIAL_IPV6 = tuple(ipaddress.IPv6Network(network) for network in SPECIAL_IPV6.split())
_HOST_NAME = re.compile(r"[a-z0-9_.-]{1,253}")
_TARGET_SAFE = "%/?:@!$&'()*+,;=-._~[]|^`{}\"<>"


@dataclass(frozen=True)
class Address:
    """A URL that may be visited if its host turns out to be public."""

    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        """What the server is told that it is called."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.host_header}{self.target}"


def parse_address(url: str, where: str) -> Address:
    """Takes a URL apart; the request is built from the parts, so no second parser reads it another way.

    Raises:
        RequestError: it is not https with a plain ASCII host.
    """
    if any(character <= " " or character == "\x7f" or character > "\ud7ff" for character in url):
        raise _bad(where, "blanks, control characters or half characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad(where, str(error)) from error
    if parts.scheme != "https":
        raise _bad(where, f"scheme {parts.scheme[:20]!r}; wanted https")
    if "@" in parts.netloc or "\\" in parts.netloc or port == 0:
        raise _bad(where, "a user name, a backslash or port 0")
    target = quote(parts.path or "/", safe=_TARGET_SAFE)
    target += f"?{quote(parts.query, safe=_TARGET_SAFE)}" if parts.query else ""
    return Address(_plain_host(parts.hostname or "", where), port or 443, target)


def _plain_host(host: str, where: str) -> str:
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host if "%" not in host else ""))
        except ValueError as error:
            raise _bad(where, f"host {host[:60]!r}") from error
    host = host.lower().removesuffix(".")
    if not _HOST_NAME.fullmatch(host) or not all(1 <= len(label) <= 63 for label in host.split(".")):
        raise _bad(where, f"host {host[:60]!r}; wanted an ASCII host name (other alphabets as xn--...)")
    return host


def is_public(address: IPAddress) -> bool:
    """Whether an IP address is one of the public internet, and not of this machine, its network or a special use."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in GLOBAL_UNICAST_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def check_resolved(found: list[str], allowed: tuple[IPNetwork, ...], where: str) -> list[IPAddress]:
    """The addresses of a host, IPv4 first. One that is not public refuses the host: no honest site is set up so."""
    addresses = []
    for text in found:
        address = ipaddress.ip_address(text)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not is_public(address) and not any(address in network for network in allowed):
            raise RequestError("url_private", f"`{where}`: its host is not on the public internet.", 403)
        addresses.append(address)
    if not addresses:
        raise unusable("url_failed", f"`{where}`: its host has no address.")
    return sorted(dict.fromkeys(addresses), key=lambda address: address.version)


def _bad(where: str, why: str) -> RequestError:
    return unusable("bad_url", f"`{where}` is not a URL that is read here: {why}.")


__all__ = ["Address", "IPAddress", "IPNetwork", "check_resolved", "is_public", "parse_address"]
