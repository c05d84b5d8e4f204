"""Draws whole leak groups for one held-out split: a minimum for each source, then by hash order, then an exact fill.

The walk in hash order takes whatever fits. Where it ends short of the target, the last groups drawn are put back, in
doubling steps, and a subset sum over all groups that are free looks for the exact rest.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

_CHUNK_GROUPS = 65536

Integers = NDArray[np.int64]


# Shapes: N rows, G groups, S sources, P pairs of a group and a source that has rows in it, C candidates
class SplitDraw:
    """Groups that may still be drawn; numbers of groups and sources are positions."""

    def __init__(self, groups: Integers, sources: Integers, order: Integers, undecided: NDArray[np.bool_]) -> None:
        """Prepare the draws.

        Args:
            groups: (N,) group of each row.
            sources: (N,) source of each row.
            order: (G,) groups in the order of their hash.
            undecided: (G,) groups that may be drawn; others lie in a published split.
        """
        self.sizes: Integers = np.bincount(groups, minlength=len(order))
        self.undecided = undecided.copy()
        self._order = order
        self._sources = int(sources.max(initial=-1)) + 1
        pairs, self._pair_rows = np.unique(groups * max(1, self._sources) + sources, return_counts=True)
        self._pair_group, self._pair_source = np.divmod(pairs, max(1, self._sources))
        self._first_pair = np.searchsorted(self._pair_group, np.arange(len(order) + 1))

    def rows_per_source(self, groups: NDArray[np.bool_] | None = None) -> Integers:
        """(S,) rows of each source in the groups of a mask, or in all."""
        chosen = slice(None) if groups is None else groups[self._pair_group]
        rows = np.zeros(self._sources, dtype=np.int64)
        np.add.at(rows, self._pair_source[chosen], self._pair_rows[chosen])
        return rows

    def take(self, room: int, needs: Mapping[int, int], kept: Mapping[int, int]) -> tuple[Integers, dict[int, int]]:
        """Draw groups of `room` rows together, and return them with what is lacking of each source's need.

        Without needs the rows drawn are the most that whole groups can give. With needs, those are drawn first and
        stay drawn.

        Args:
            room: rows to draw.
            needs: rows of a source that must be among them.
            kept: rows of a source that must stay undrawn.
        """
        self._room = room
        self._spare = self.rows_per_source(self.undecided)
        for source, rows in kept.items():
            self._spare[source] -= rows
        self._is_guarded = any(kept.values())
        drawn, unmet = self._take_needs(dict(needs))
        if unmet:
            return np.array(drawn, dtype=np.int64), unmet
        walked = self._walk()
        drawn += walked if self._room == 0 else self._fill(walked)
        self.undecided[drawn] = False
        return np.array(drawn, dtype=np.int64), {}

    def _take_needs(self, needs: dict[int, int]) -> tuple[list[int], dict[int, int]]:
        drawn: list[int] = []
        for source in sorted(needs):
            if needs[source] <= 0:
                continue
            holds_source = np.zeros(len(self._order), dtype=np.bool_)
            holds_source[self._pair_group[self._pair_source == source]] = True
            for group in self._walk_order(holds_source & self.undecided):
                rows_of = dict(self._pairs(group))
                size = int(self.sizes[group])
                gain = sum(min(rows, needs.get(other, 0)) for other, rows in rows_of.items())
                # The other sources must still find room for what they need.
                if self._room - size < sum(needs.values()) - gain or not self._leaves_enough(group):
                    continue
                self._move(group, 1)
                drawn.append(group)
                for other in rows_of.keys() & needs.keys():
                    needs[other] = max(0, needs[other] - rows_of[other])
                if needs[source] == 0:
                    break
        return drawn, {source: rows for source, rows in needs.items() if rows > 0}

    def _walk(self) -> list[int]:
        """Draw what fits, in the order of the hash."""
        drawn: list[int] = []
        for group in self._walk_order(self.undecided.copy()):
            if self.sizes[group] <= self._room and self._leaves_enough(group):
                self._move(group, 1)
                drawn.append(group)
                if self._room == 0:
                    break
        return drawn

    def _fill(self, walked: list[int]) -> list[int]:
        """Return the choice nearest to the room: some of the groups walked, and a subset sum for the rest."""
        best, shortfall = list(walked), self._room
        while walked:
            wanted = 2 * self._room
            while walked and self._room < wanted:
                self._move(walked.pop(), -1)
            candidates = self._candidates()
            chosen = candidates[subset_sum(self.sizes[candidates], self._room)]
            left = self._room - int(self.sizes[chosen].sum())
            if left < shortfall:
                best, shortfall = walked + chosen.tolist(), left
            if left == 0:
                break
        return best

    def _candidates(self) -> Integers:
        """(C,) groups in hash order, any choice of which within the room leaves enough of every source."""
        free = self.undecided & (self.sizes <= self._room)
        if self._is_guarded:
            free[self._pair_group[self._spare[self._pair_source] < self._room]] = False
        return self._order[free[self._order]]

    def _walk_order(self, groups: NDArray[np.bool_]) -> Iterator[int]:
        """Groups of a mask that fit the room, in the order of the hash."""
        for start in range(0, len(self._order), _CHUNK_GROUPS):
            chunk = self._order[start : start + _CHUNK_GROUPS]
            yield from chunk[groups[chunk] & (self.sizes[chunk] <= self._room)].tolist()

    def _pairs(self, group: int) -> list[tuple[int, int]]:
        """Sources of a group, and their rows in it."""
        pairs = slice(self._first_pair[group], self._first_pair[group + 1])
        return list(zip(self._pair_source[pairs].tolist(), self._pair_rows[pairs].tolist(), strict=True))

    def _leaves_enough(self, group: int) -> bool:
        if self._is_guarded and any(rows > self._spare[source] for source, rows in self._pairs(group)):
            return False
        return bool(self.undecided[group])

    def _move(self, group: int, direction: int) -> None:
        """Draw a group (1), or put it back (-1)."""
        self.undecided[group] = direction < 0
        self._room -= direction * int(self.sizes[group])
        if self._is_guarded:
            for source, rows in self._pairs(group):
                self._spare[source] -= direction * rows


def subset_sum(sizes: Integers, target: int) -> Integers:
    """Return positions, of sizes above 0, whose sum is the largest that does not exceed the target.

    The sums that can be reached are the bits of one integer. Equal sizes enter in bundles of 1, 2, 4 ..., so that the
    work grows with the number of distinct sizes; bundles enter in the order of their positions, and the search ends
    when the target is reached, so early positions are preferred.
    """
    bundles: list[tuple[int, int, Integers]] = []  # (last position, rows, positions)
    by_size = np.argsort(sizes, kind="stable")
    distinct, starts, counts = np.unique(sizes[by_size], return_index=True, return_counts=True)
    for size, start, count in zip(distinct.tolist(), starts.tolist(), counts.tolist(), strict=True):
        left, copies = min(count, target // size), 1
        while left > 0:
            positions = by_size[start : start + min(copies, left)]
            bundles.append((int(positions[-1]), size * len(positions), positions))
            start, left, copies = start + len(positions), left - len(positions), copies * 2
    bundles.sort(key=lambda bundle: bundle[:2])
    within = (1 << (target + 1)) - 1
    reachable = 1
    bundle_of_sum = np.zeros(target + 1, dtype=np.int64)
    for number, (_, rows, _) in enumerate(bundles):
        new = (reachable << rows) & within & ~reachable
        if new:
            bundle_of_sum[_bits(new)] = number
            reachable |= new
            if reachable >> target & 1:
                break
    total = reachable.bit_length() - 1
    chosen = [np.empty(0, dtype=np.int64)]
    while total:
        # A sum was first reached by this bundle from a smaller sum that earlier bundles had reached.
        _, rows, positions = bundles[bundle_of_sum[total]]
        chosen.append(positions)
        total -= rows
    return np.sort(np.concatenate(chosen))


def _bits(number: int) -> Integers:
    """Positions of the bits that are set."""
    octets = np.frombuffer(number.to_bytes(-(-number.bit_length() // 8), "little"), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(octets, bitorder="little"))
