"""What a download may cost, ourselves and the sites that we ask."""

import ipaddress
import re
from dataclasses import dataclass

from .public_addresses import IPNetwork


@dataclass(frozen=True, kw_only=True)
class DownloadLimits:
    """Settings of `download_images`."""

    concurrency: int = 64
    """Images that are fetched at the same time."""
    connections_per_host: int = 4
    """Of these, how many from one host."""
    timeout_seconds: float = 30.0
    """For one image: resolving, connecting, redirects, retries and body together. Waiting for a turn is not counted."""
    max_bytes: int = 20_000_000
    """Most bytes of an image. A batch takes up to `concurrency` times this, and the images that it returns."""
    max_redirects: int = 3
    retries: int = 1
    """Further tries of one image after a failure that may pass, within its time."""
    retry_pause_seconds: float = 1.0
    """Before a further try, where the server does not ask for a time."""
    max_host_failures: int = 10
    """After so many images in a row that a host did not answer, its others are left to a rerun."""
    honours_robots_txt: bool = True
    """Whether robots.txt of each host is fetched first, once in a batch, and kept to."""
    user_agent: str = "rsclip-dataset/0.1 (research dataset of remote-sensing images)"
    """How sites know us; the word before the slash is what a robots.txt may name."""
    allowed_private_networks: tuple[str, ...] = ()
    """Networks that may be reached although they are not public, such as that of a mirror: 10.1.2.0/24."""

    def __post_init__(self) -> None:
        positive = (self.concurrency, self.connections_per_host, self.max_bytes, self.max_host_failures)
        if min(positive) < 1 or min(self.timeout_seconds, self.max_redirects, self.retries) < 0:
            raise ValueError(f"{self} fetches nothing; counts must be at least 1 and times not negative.")
        if not self.timeout_seconds > 0 or not self.retry_pause_seconds >= 0:
            raise ValueError(f"timeout_seconds={self.timeout_seconds} and retry_pause_seconds must be positive.")
        if not re.fullmatch(r"[A-Za-z][\w.-]*(?:[/ ][\x20-\x7e]*)?", self.user_agent):
            raise ValueError(
                f"user_agent={self.user_agent!r} must begin with a name and be printable ASCII, such as 'mine/1.0'."
            )
        _ = self.allowed_networks

    @property
    def allowed_networks(self) -> tuple[IPNetwork, ...]:
        """The networks, parsed.

        Raises:
            ValueError: one is not a network.
        """
        return tuple(ipaddress.ip_network(network) for network in self.allowed_private_networks)


DEFAULT_LIMITS = DownloadLimits()
