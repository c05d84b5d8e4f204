"""The stages of the dataset builds beside what a user would otherwise run, on generated data, one thread."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .dataset_image_stages import decode_check, hashing, hashing_decoded, luminance, rule_captions
from .dataset_row_stages import exact_duplicates, keyword_selection, near_duplicate_search, splits
from .generated_images import scene_like_image, scene_like_jpeg
from .side_by_side import Comparison


@dataclass(frozen=True, kw_only=True)
class StageSizes:
    """How much each stage is given."""

    images: int = 100
    """JPEG images to hash, check and translate."""
    sides: tuple[int, ...] = (256, 500)
    """Pixels a side of the images to hash and check; the others take the first."""
    hashes: int = 20_000
    """Hashes to search for near duplicates."""
    captions: int = 50_000
    """Captions to select by keyword."""
    split_rows: int = 100_000
    """Rows to split."""
    shard_rows: int = 500
    """Rows of a shard."""

    def __post_init__(self) -> None:
        numbers = {name: value for name, value in asdict(self).items() if name != "sides"}
        if not self.sides or min(self.sides) < 1 or min(numbers.values()) < 1:
            raise ValueError(f"{self} leaves nothing to measure; all numbers must be at least 1.")


def stage_comparisons(sizes: StageSizes, peers: Path) -> Iterator[Comparison]:
    """Yield a comparison for every stage but the writing of shards; data are made when it is reached."""
    for side in sizes.sides:
        jpegs = [scene_like_jpeg(seed, side) for seed in range(sizes.images)]
        yield hashing(jpegs, side, peers)
        yield hashing_decoded(jpegs, side, peers)
        yield decode_check(jpegs, side)
    yield near_duplicate_search(sizes.hashes, peers)
    yield exact_duplicates([scene_like_jpeg(seed, sizes.sides[0]) for seed in range(sizes.images)])
    yield keyword_selection(sizes.captions)
    yield splits(sizes.split_rows)
    yield luminance([scene_like_image(seed, sizes.sides[0]) for seed in range(sizes.images)])
    yield rule_captions(sizes.images)
