"""What a check of a dataset folder can find: a named kind for each way in which a folder can be wrong."""

from collections.abc import Mapping
from dataclasses import dataclass

KINDS: Mapping[str, str] = {
    # The manifest and the files beside the shards.
    "manifest_missing": "there is no manifest.json",
    "manifest_unreadable": "manifest.json is no JSON, or lacks what a manifest has",
    "manifest_not_canonical": "manifest.json is not written as the build writes it",
    "manifest_seal": "manifest.json is not what was written: its own hash differs",
    # Files.
    "missing": "a file that the manifest lists is not there",
    "size": "a file has another size than the manifest says",
    "sha256": "a file has another SHA-256 than the manifest says",
    "unlisted": "a file that the manifest does not list",
    "leftover": "a temporary file of a run that was killed",
    "counts": "numbers of rows or groups do not add up",
    # Shards.
    "unreadable": "a Parquet file or a row group cannot be read, or a page fails its checksum",
    "columns": "columns or types are not those of the dataset",
    # Rows.
    "equal_ids": "an id is there twice",
    "image_missing": "a row has no image",
    "image_path": "an image carries a path of the machine that wrote it",
    "image_sha256": "the bytes of an image are not those that the row names",
    "image_undecodable": "an image cannot be decoded",
    "image_metadata": "an image carries more than its pixels: EXIF, positions, comments",
    "geometry": "the two images of a pair differ in size",
    "infrared_channels": "an infrared image is not one channel of 8 or 16 bits",
    "caption_key": "a caption key is not the hash of the first caption",
    "index_row": "a row of the index differs from the row with the image, or one of the two is not there",
    "split_leak": "a leak group or a caption lies in more than one split",
    # What may leave this machine.
    "license": "a row lies in data/ that its licence does not let out",
    "not_withheld": "the index holds a text that its licence does not let out",
    "secret": "a text reads like an access token or a private key",
    "machine_path": "a text names a folder of this machine",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    file: str
    """Path in the folder."""
    kind: str
    """A name from KINDS."""
    detail: str = ""

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind

    def __str__(self) -> str:
        return f"{self.file}: {self.kind}: {self.detail or KINDS[self.kind]}"
