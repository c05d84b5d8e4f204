"""Connected components of rows numbered from 0, in whole-array steps.

`leak_groups` joins strings one by one and is right for keys of some thousand rows; at millions of rows its
dictionary takes gigabytes.
"""

import numpy as np
from numpy.typing import NDArray


# Shapes: E edges, N rows
def connected_components(count: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of `count` rows the smallest row of its component.

    Every round hangs each root that an edge ties to a smaller root below the smallest of those, then shortens all
    paths to length one. A root survives a round only where it is smaller than all its neighbours, so the number of
    rounds grows with the logarithm of the rows.
    """
    root = np.arange(count, dtype=np.int64)
    first, second = edges.reshape(-1, 2).T  # (E,) each
    while first.size:
        first, second = root[first], root[second]
        apart = first != second
        first, second = first[apart], second[apart]
        np.minimum.at(root, np.maximum(first, second), np.minimum(first, second))
        shortened = root[root]
        while not np.array_equal(shortened, root):
            root, shortened = shortened, shortened[shortened]
    return root
