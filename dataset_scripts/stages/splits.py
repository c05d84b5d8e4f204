"""Splits of whole leak groups: exact numbers of rows, a minimum for every source, published splits kept.

Groups are drawn in the order of SHA-256(salt:group), so a group is as likely to be held out as any other that fits.
A draw that prefers small groups is exact at once, but its test set is not like its training set.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .split_draw import SplitDraw

SPLITS = ("train", "validation", "test")
# Test is drawn first: where groups run out, it is the last to suffer.
HELD_OUT = ("test", "validation")
TRAIN = SPLITS.index("train")
_UNDECIDED = -1

# Names by row, or their numbers. Arrow's are not turned into Python's, which take five times the memory.
Groups = Sequence[Any] | NDArray[np.int64]  # of str or int, or an array of Arrow's
_NAMES_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How many rows are held out."""

    validation: int | float = 0.05
    """Rows of validation: a whole number of rows, or a fraction below 1 of all rows."""
    test: int | float = 0.05
    """Rows of test, as for validation."""
    min_rows_per_source: int = 0
    """Rows that every source has in each of the three splits at least."""
    small_sources: Literal["refuse", "exempt"] = "refuse"
    """What becomes of a source that cannot give the minimum: an error, or no minimum is asked of it."""
    salt: str = "rsclip-splits-1"
    """Decides which groups are drawn."""

    def __post_init__(self) -> None:
        for name in HELD_OUT:
            value = getattr(self, name)
            if isinstance(value, bool) or not (0 <= value < 1 or (isinstance(value, int) and value >= 1)):
                raise ValueError(f"{name} is {value!r}; give a number of rows, or a fraction from 0 to below 1.")
        if self.min_rows_per_source < 0:
            raise ValueError(f"min_rows_per_source is {self.min_rows_per_source}; it must not be negative.")
        if self.small_sources not in ("refuse", "exempt"):
            raise ValueError(f"small_sources is {self.small_sources!r}; it must be 'refuse' or 'exempt'.")

    def target_rows(self, split: str, rows: int) -> int:
        """Number of rows that a held-out split should have."""
        value = getattr(self, split)
        return value if isinstance(value, int) else round(value * rows)


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """The split of every row, and what could not be had."""

    splits: list[str]
    targets: dict[str, int]
    """Rows that were asked for, per held-out split."""
    rows: dict[str, int]
    """Rows of each split; below a target where whole groups cannot add up to it, after the minimum of every source."""
    exempt_sources: list[str]
    """Sources of which no minimum was asked: too small, or published with splits of their own."""
    moved_rows: int
    """Rows that left their published split because their group touches another one."""


def assign_splits(
    groups: Groups,
    sources: Sequence[str],
    settings: SplitSettings,
    fixed_splits: Sequence[str | None] | None = None,
) -> list[str]:
    """Return the split of every row; see `plan_splits`."""
    return plan_splits(groups, sources, settings, fixed_splits).splits


# Shapes: N rows, G groups
def plan_splits(
    groups: Groups,
    sources: Sequence[str] | pa.Array,
    settings: SplitSettings,
    fixed_splits: Sequence[str | None] | None = None,
) -> SplitPlan:
    """Give every row a split such that a group lies in one split only.

    The result depends on the names of the groups and on the salt, not on the order of the rows. Integer groups are
    named by their number.

    Args:
        groups: the leak group of every row.
        sources: the source of every row.
        settings: sizes, minimum and salt.
        fixed_splits: for every row the split that its source publishes, or None. A group with such rows goes as a
            whole to test if one of them is a test row, else to validation if one is, else to train; its rows count
            towards the sizes.

    Raises:
        ValueError: the columns differ in length, a source is too small, or the sizes cannot be.
    """
    rows = len(groups)
    if len(sources) != rows or (fixed_splits is not None and len(fixed_splits) != rows):
        lengths = [rows, len(sources)] + ([] if fixed_splits is None else [len(fixed_splits)])
        raise ValueError(f"columns have {lengths} rows; give one group, source and published split for each row.")
    targets = {split: settings.target_rows(split, rows) for split in HELD_OUT}
    if rows and sum(targets.values()) >= rows:
        raise ValueError(f"{targets} of {rows} rows leave none for train; ask for fewer.")
    codes, names = number_values(groups)  # (N,), G
    source_codes, source_names = _number_sources(sources)
    fixed = _fixed_groups(codes, len(names), fixed_splits)  # (G,)
    draw = SplitDraw(codes, source_codes, hash_order(names, settings.salt), fixed == _UNDECIDED)
    split_of_group = np.where(fixed == _UNDECIDED, TRAIN, fixed).astype(np.int8)
    lacking = {
        split: np.maximum(0, settings.min_rows_per_source - draw.rows_per_source(fixed == number))  # (S,)
        for number, split in enumerate(SPLITS)
        if split == "train" or targets[split]
    }
    exempt = _exempt_sources(draw, lacking, source_names, settings)
    asked = [source for source in range(len(source_names)) if source not in exempt]
    for position, split in enumerate(HELD_OUT):
        room = targets[split] - int(draw.sizes[fixed == SPLITS.index(split)].sum())
        if room < 0:
            raise ValueError(
                f"the published {split} rows, with their leak groups, are {targets[split] - room}, more than the "
                f"{targets[split]} rows asked for; ask for more."
            )
        # What the splits that are drawn later, and train, must still find.
        later = [lacking[other] for other in (*HELD_OUT[position + 1 :], "train") if other in lacking]
        kept = {source: sum(int(rows[source]) for rows in later) for source in asked}
        needs = {source: int(lacking[split][source]) for source in asked} if split in lacking else {}
        drawn, unmet = draw.take(room, needs, kept)
        if unmet:
            raise ValueError(_unmet_message(split, targets[split], unmet, source_names, settings))
        split_of_group[drawn] = SPLITS.index(split)
    return _plan(split_of_group, codes, draw.sizes, fixed_splits, targets, [source_names[n] for n in sorted(exempt)])


def number_values(values: Groups) -> tuple[NDArray[np.int64], Any]:
    """Return for every value the number of its name, and the names; None, which is no name, has the number -1."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return _number_arrow(values)
    if isinstance(values, np.ndarray):
        if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"groups are {values.dtype} of shape {values.shape}; an array must be integer, (N,).")
        distinct, codes = np.unique(values, return_inverse=True)
        return codes.astype(np.int64), [str(value) for value in distinct.tolist()]
    numbers: dict[str | int, int] = {}
    # A dictionary, because an array of strings is as wide as its longest one.
    found = (-1 if value is None else numbers.setdefault(value, len(numbers)) for value in values)
    codes = np.fromiter(found, np.int64, len(values))
    return codes, [str(value) for value in numbers]


def _number_arrow(values: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.StringArray]:
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(whole, pa.DictionaryArray):
        return whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), whole.dictionary
    # Sorted, because the table of a dictionary_encode takes several times the memory.
    order = pc.sort_indices(whole).to_numpy()[: len(whole) - whole.null_count]
    ordered = whole.take(pa.array(order))
    is_new = np.ones(len(ordered), dtype=np.bool_)
    is_new[1:] = pc.not_equal(ordered[1:], ordered[:-1]).to_numpy(zero_copy_only=False)
    codes = np.full(len(whole), -1, dtype=np.int64)
    codes[order] = np.cumsum(is_new) - 1
    return codes, ordered.filter(pa.array(is_new))


def texts_of(names: Any) -> Iterator[str]:
    """Names as Python's strings, some at a time."""
    if not isinstance(names, pa.Array):
        yield from names
        return
    for start in range(0, len(names), _NAMES_AT_ONCE):
        yield from names.slice(start, _NAMES_AT_ONCE).to_pylist()


def hash_order(names: Sequence[str] | pa.Array, salt: str) -> NDArray[np.int64]:
    """Return the positions of the names in the order of SHA-256(salt:name)."""
    digests = bytearray()
    for name in texts_of(names):
        digests += hashlib.sha256(f"{salt}:{name}".encode()).digest()[:16]
    halves = np.frombuffer(bytes(digests), dtype=">u8").reshape(-1, 2)
    return np.lexsort((halves[:, 1], halves[:, 0]))


def _number_sources(sources: Sequence[str] | pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    """Number sources in the order of their names, because they are served in that order."""
    codes, names = number_values(sources)
    ordered = sorted(texts_of(names))
    number_of = {name: number for number, name in enumerate(ordered)}
    return np.array([number_of[name] for name in texts_of(names)], dtype=np.int64)[codes], ordered


def _fixed_groups(
    codes: NDArray[np.int64], groups: int, fixed_splits: Sequence[str | None] | None
) -> NDArray[np.int64]:
    """The published split of every group; SPLITS is in the order in which a later one wins."""
    fixed = np.full(groups, _UNDECIDED, dtype=np.int64)
    if fixed_splits is not None:
        number_of: dict[str | None, int] = {split: number for number, split in enumerate(SPLITS)}
        number_of[None] = _UNDECIDED
        foreign = next((split for split in fixed_splits if split not in number_of), None)
        if foreign is not None:
            raise ValueError(f"a published split is {foreign!r}; it must be one of {', '.join(SPLITS)}, or None.")
        np.maximum.at(fixed, codes, np.array([number_of[split] for split in fixed_splits], dtype=np.int64))
    return fixed


def _exempt_sources(
    draw: SplitDraw, lacking: dict[str, NDArray[np.int64]], names: Sequence[str], settings: SplitSettings
) -> set[int]:
    """Sources of which no minimum is asked."""
    if not settings.min_rows_per_source:
        return set()
    undecided = draw.rows_per_source(draw.undecided)
    published = set(np.flatnonzero(undecided == 0).tolist())
    too_small = set(np.flatnonzero(undecided < sum(lacking.values())).tolist()) - published
    if too_small and settings.small_sources == "refuse":
        listed = ", ".join(f"{names[source]} ({undecided[source]} rows to draw from)" for source in sorted(too_small))
        raise ValueError(
            f"too few rows for {settings.min_rows_per_source} in each of {len(lacking)} splits: {listed}. "
            "Lower min_rows_per_source, drop the source, or set small_sources to 'exempt'."
        )
    return published | too_small


def _unmet_message(
    split: str, target: int, unmet: dict[int, int], names: Sequence[str], settings: SplitSettings
) -> str:
    listed = ", ".join(f"{names[source]} lacks {rows}" for source, rows in sorted(unmet.items()))
    return (
        f"{split} of {target} rows has no room, or no whole groups, for {settings.min_rows_per_source} rows of every "
        f"source: {listed}. Ask for more rows, or lower min_rows_per_source."
    )


def _plan(
    split_of_group: NDArray[np.int8],
    codes: NDArray[np.int64],
    sizes: NDArray[np.int64],
    fixed_splits: Sequence[str | None] | None,
    targets: dict[str, int],
    exempt: list[str],
) -> SplitPlan:
    splits = [SPLITS[number] for number in split_of_group[codes].tolist()]
    published = fixed_splits if fixed_splits is not None else []
    return SplitPlan(
        splits=splits,
        targets=targets,
        rows={split: int(sizes[split_of_group == number].sum()) for number, split in enumerate(SPLITS)},
        exempt_sources=sorted(exempt),
        moved_rows=sum(own is not None and own != split for own, split in zip(published, splits, strict=False)),
    )
