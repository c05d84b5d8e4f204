"""Interval of a mean over directions: one resample of the cases serves every direction, so their correlation counts.

Shapes: C cases (clusters: images, pairs or rows), B draws.
"""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

CHUNK = 50


def joint_interval(parts: list[tuple[Doubles, Doubles]], draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of several shares over the same cases; of one case all from 0 to 1.

    With one part whose counts are 1 this is `mean_interval`, draw for draw.

    Args:
        parts: Per ratio its sums (C,) and counts (C,), such as the hits and the number of an image's captions.
        draws: Bootstrap samples.
        seed: Seed of the samples.
    """
    cases = len(parts[0][0])
    if cases < 2:
        return 0.0, 1.0
    generator, values = np.random.default_rng(seed), []
    for start in range(0, draws, CHUNK):
        sample = generator.integers(cases, size=(min(CHUNK, draws - start), cases))
        ratios = [sums[sample].sum(axis=1) / counts[sample].sum(axis=1) for sums, counts in parts]
        values.append(np.mean(ratios, axis=0))
    low, high = np.quantile(np.concatenate(values), [0.025, 0.975])
    return float(low), float(high)
