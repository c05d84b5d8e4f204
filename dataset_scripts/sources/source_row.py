"""What every source yields, and what a source is: parts that can be read one by one, in any process.

A part is the unit of work and of resuming. Listing parts is cheap and happens once, on the driver; a worker reads
one part from its JSON-able description alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..stages.rejects import Reject

UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRow:
    """One image as its source knows it; bytes are those of the upstream file, not decoded and not judged."""

    source: str
    """Name of the source, such as `rsicd`."""
    source_id: str
    """Name of the row in its source; unique there, and the same on every machine."""
    image: bytes | None = None
    """The encoded RGB image; None where only its address is known."""
    url: str | None = None
    sha256: str | None = None
    """The SHA-256 of the image that the source publishes, where it does."""
    infrared: bytes | None = None
    """The encoded infrared image, where the source has one."""
    infrared_origin: str | None = None
    """`sensor`, `simulated`, ...; goes with `infrared`."""
    infrared_band: str | None = None
    """`thermal`, `mwir`, `swir` or `nir`; goes with `infrared`."""
    captions: tuple[str, ...] = ()
    """Scene captions as published."""
    caption_kind: str = "web"
    """What the captions are: `web`, `machine`, `rotation_invariant`, `metadata` or `human`."""
    infrared_captions: tuple[str, ...] = ()
    class_name: str | None = None
    license: str = UNKNOWN_LICENSE
    """SPDX identifier of the image's licence, or `unknown`."""
    caption_license: str | None = None
    """SPDX identifier of the captions' licence where it is not the image's."""
    attribution: str = ""
    """Whom to name for this image."""
    split: str | None = None
    """The split that the source publishes: `train`, `validation` or `test`."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Facts of the image, by the names of `stages.metadata_captions`; JSON-able values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some rows of a source that are read together."""

    name: str
    """Unique within the source, and fit for a file name."""
    fingerprint: str
    """Changes when the files behind the part change (names, sizes, times of change)."""
    where: Mapping[str, Any]
    """What the source needs to find the rows again; JSON-able."""
    rows: int | None = None
    """Number of rows, where it is known without reading them."""


class Source(Protocol):
    """An adapter: a frozen dataclass that can be sent to another process."""

    @property
    def name(self) -> str:
        """Name of the source, as it stands in the rows."""

    def parts(self, rows_per_part: int) -> Sequence[Part]:
        """List the parts, in an order that does not depend on the machine."""

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the rows of a part in order; a row that cannot be read is a reject with a named reason."""
