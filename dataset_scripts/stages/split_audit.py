"""Looks at splits that were made: do leak groups or captions cross them, and is a split made of other groups?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .splits import Groups, number_values, texts_of

_SAMPLE = 5


class SplitLeakError(ValueError):
    """Rows of one leak group, or with one caption, lie in more than one split."""


@dataclass(frozen=True, kw_only=True)
class GroupFacts:
    """Rows and groups of a split, or of one source in it."""

    rows: int
    groups: int
    """Groups with at least one of these rows."""
    mean_group_rows: float
    """Rows per group: a held-out split with a smaller mean than train holds other, rarer scenes than train."""


@dataclass(frozen=True, kw_only=True)
class SplitAudit:
    """What was found; JSON-able through `dataclasses.asdict`."""

    rows: int
    groups: int
    splits: dict[str, GroupFacts]
    sources: dict[str, dict[str, GroupFacts]]
    """Per split, per source."""
    groups_across_splits: int
    caption_keys_across_splits: int
    crossing_groups: list[str]
    """The first few of them."""
    crossing_caption_keys: list[str]

    def require_clean(self) -> None:
        """Raise SplitLeakError if anything crosses splits."""
        if self.groups_across_splits or self.caption_keys_across_splits:
            raise SplitLeakError(
                f"{self.groups_across_splits} leak groups and {self.caption_keys_across_splits} caption keys lie in "
                f"more than one split, such as {', '.join(self.crossing_groups + self.crossing_caption_keys)}. "
                "Group rows by their caption keys as well as their hashes, and split whole groups."
            )


def audit_splits(
    splits: Sequence[str],
    groups: Groups,
    caption_keys: Sequence[str | None] | pa.Array,
    sources: Sequence[str] | pa.Array,
) -> SplitAudit:
    """Count rows and groups of splits and sources, and what crosses splits; a caption key of None is no caption."""
    lengths = [len(splits), len(groups), len(caption_keys), len(sources)]
    if len(set(lengths)) != 1:
        raise ValueError(f"columns have {lengths} rows; give one split, group, caption key and source for each row.")
    split_codes, split_names = number_values(splits)
    source_codes, source_names = number_values(sources)
    source_names = list(texts_of(source_names))
    group_codes, group_names = number_values(groups)
    crossing_groups = _crossing(group_codes, split_codes, group_names)
    key_codes, key_names = number_values(caption_keys)
    has_key = key_codes >= 0
    crossing_keys = _crossing(key_codes[has_key], split_codes[has_key], key_names)
    order = sorted(range(len(split_names)), key=lambda number: split_names[number])
    return SplitAudit(
        rows=len(splits),
        groups=len(group_names),
        splits={split_names[split]: _facts(group_codes[split_codes == split]) for split in order},
        sources={
            split_names[split]: {
                source_names[source]: _facts(group_codes[(split_codes == split) & (source_codes == source)])
                for source in sorted(
                    np.unique(source_codes[split_codes == split]).tolist(), key=source_names.__getitem__
                )
            }
            for split in order
        },
        groups_across_splits=len(crossing_groups),
        caption_keys_across_splits=len(crossing_keys),
        crossing_groups=crossing_groups[:_SAMPLE],
        crossing_caption_keys=crossing_keys[:_SAMPLE],
    )


def _facts(groups: NDArray[np.int64]) -> GroupFacts:
    count = len(np.unique(groups))
    return GroupFacts(rows=len(groups), groups=count, mean_group_rows=round(len(groups) / count, 4) if count else 0.0)


def _crossing(values: NDArray[np.int64], splits: NDArray[np.int64], names: Any) -> list[str]:
    """Names of the values that lie in more than one split, sorted."""
    base = int(splits.max(initial=0)) + 1
    of_pair = np.unique(values * base + splits) // base
    return sorted(str(names[value]) for value in np.unique(of_pair[1:][of_pair[1:] == of_pair[:-1]]).tolist())
