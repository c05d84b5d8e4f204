"""METEOR: words aligned in as few chunks as can be, then a weighted F-mean with a penalty for the chunks.

`meteor_exact_stem` is the metric of Banerjee and Lavie (2005) with its first two stages, equal words and equal stems,
and its parameters; no WordNet. METEOR 1.5, with synonyms and paraphrases, is `meteor_java`. They are not comparable.
Shapes: N rows, B draws.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..intervals.cluster_bootstrap import Doubles, Score
from .bleu import Tokens
from .english_stem import english_stem

# Partial alignments that are kept at each word, as METEOR 1.5 keeps them.
BEAM = 40


@dataclass(frozen=True, kw_only=True)
class MeteorParameters:
    """What turns an alignment into a score."""

    alpha: float
    """Weight of precision against recall in the F-mean: near 1 recall decides."""
    beta: float
    """Exponent of the fragmentation."""
    gamma: float
    """The greatest penalty."""


# F = 10PR / (R + 9P), penalty = 0.5 (chunks / matches)^3.
BANERJEE_LAVIE_2005 = MeteorParameters(alpha=0.9, beta=3.0, gamma=0.5)


def meteor_exact_stem_score(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
    """METEOR over a corpus: counts of each row against its best reference, summed, then scored.

    A row alone has the score of its sentence. An empty candidate matches nothing; its length still counts for recall
    by its shortest reference.
    """
    rows = [_best(said, of) for said, of in zip(candidates, references, strict=True)]
    columns = np.array(rows, dtype=np.float64)
    statistic = partial(meteor, parameters=BANERJEE_LAVIE_2005)
    return Score(name="meteor_exact_stem", columns=columns, statistic=statistic, n=len(rows))


def meteor(sums: Doubles, parameters: MeteorParameters) -> Doubles:
    """METEOR (B,) of sums (B, 7) of what `row_counts` gives."""
    own, own_length, other, other_length, chunks, own_words, other_words = sums.T
    matched = (own > 0) & (other > 0)
    precision = np.divide(own, own_length, out=np.zeros(len(sums)), where=matched)
    recall = np.divide(other, other_length, out=np.zeros(len(sums)), where=matched)
    weighted = np.where(matched, parameters.alpha * precision + (1 - parameters.alpha) * recall, 1.0)
    fragmentation = chunks / np.where(matched, (own_words + other_words) / 2, 1.0)
    penalty = parameters.gamma * fragmentation**parameters.beta
    return np.where(matched, precision * recall / weighted * (1 - penalty), 0.0)


def row_counts(
    *,
    matches: tuple[float, float],
    lengths: tuple[float, float],
    words: tuple[float, float],
    chunks: float,
    whole: bool,
) -> list[float]:
    """What a row adds to METEOR's sums. Each pair is of the candidate and of its reference.

    Args:
        matches: Weighted matches.
        lengths: Weighted lengths.
        words: Matched words.
        chunks: Chunks of the alignment.
        whole: Whether the two texts match as wholes in one chunk, which costs no penalty: METEOR 1.5 counts no chunk.
    """
    return [matches[0], lengths[0], matches[1], lengths[1], 0.0 if whole else chunks, *words]


def align(candidate: Tokens, reference: Tokens) -> tuple[int, int]:
    """Matches and chunks of the alignment of two texts.

    Words match by stem, which equal words share. As many words as possible are matched; of those alignments the one
    with the fewest chunks counts, which a beam finds (exactly where few words repeat). A chunk is a run of matches
    that are neighbours in both texts.
    """
    places: dict[str, list[int]] = {}
    for at, word in enumerate(reference):
        places.setdefault(english_stem(word), []).append(at)
    stems = [english_stem(word) for word in candidate]
    left = Counter(stem for stem in stems if stem in places)
    # A state is (which places are taken, the place of the last word's match or -2): its fewest chunks, least distance.
    states: dict[tuple[int, int], tuple[int, int]] = {(0, -2): (0, 0)}
    for at, stem in enumerate(stems):
        options = places.get(stem, [])
        grown: dict[tuple[int, int], tuple[int, int]] = {}
        for (taken, last), (chunks, distance) in states.items():
            free = [place for place in options if not taken >> place & 1]
            # The word may stay unmatched only where enough like it follow to take every free place.
            if len(free) < left[stem] or not free:
                _keep(grown, (taken, -2), (chunks, distance))
            for place in free:
                cost = (chunks + (place != last + 1), distance + abs(place - at))
                _keep(grown, (taken | 1 << place, place), cost)
        if options:
            left[stem] -= 1
        states = dict(sorted(grown.items(), key=_promise)[:BEAM]) if len(grown) > BEAM else grown
    taken, _ = min(states, key=lambda state: states[state])
    return taken.bit_count(), min(states.values())[0]


def _keep(states: dict[tuple[int, int], tuple[int, int]], state: tuple[int, int], cost: tuple[int, int]) -> None:
    if state not in states or cost < states[state]:
        states[state] = cost


def _promise(item: tuple[tuple[int, int], tuple[int, int]]) -> tuple[int, int, int]:
    """Order of the beam: more matches, fewer chunks, less distance."""
    (taken, _), (chunks, distance) = item
    return (-taken.bit_count(), chunks, distance)


def _best(candidate: Tokens, references: Sequence[Tokens]) -> list[float]:
    """Statistics against the reference with the best score; of equal ones the first, without any match the shortest."""
    best: list[float] = []
    best_score = -1.0
    for reference in sorted(references, key=len) if not candidate else references:
        matches, chunks = align(candidate, reference)
        own, other = len(candidate), len(reference)
        row = row_counts(
            matches=(matches, matches),
            lengths=(own, other),
            words=(matches, matches),
            chunks=chunks,
            whole=matches == own == other and chunks == 1,
        )
        score = float(meteor(np.array([row]), BANERJEE_LAVIE_2005)[0])
        if score > best_score:
            best, best_score = row, score
    return best
