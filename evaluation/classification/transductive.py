"""Protocol `zero-shot-transductive`: all test images are classified together, as RS-TransCLIP does without labels.

One Gaussian per class over unit embeddings with one diagonal variance, a text prior, and agreement of neighbours
(elkhouryk/RS-TransCLIP 01df065; Zanella et al., NeurIPS 2024). It sees the whole test set and its numbers never stand
beside those of single images. Shapes: N images, C classes, D width, K neighbours.
"""

import numpy as np
import numpy.typing as npt

from ..retrieval.recall import Floats

Doubles = npt.NDArray[np.float64]

TEMPERATURE = 100.0
NEIGHBOURS = 3
MOST_CONFIDENT = 8
STEPS = 10
INNER_STEPS = 5
# The released solver divides the likelihood by 50 and multiplies the affinity by 50 / (2 * NEIGHBOURS) before that.
LIKELIHOOD_SCALE = 50.0
BLOCK = 1024


def assign(images: Floats, classifier: Floats) -> Doubles:
    """Class probabilities (N, C) of unit embeddings (N, D) under unit class vectors (C, D).

    Raises:
        ValueError: There are too few images for the neighbours and the first means.
    """
    if len(images) < max(MOST_CONFIDENT, NEIGHBOURS + 1):
        raise ValueError(f"{len(images)} images; transductive inference needs at least {MOST_CONFIDENT}.")
    features = images.astype(np.float64)
    prior = TEMPERATURE * (features @ classifier.T.astype(np.float64))
    log_prior = prior - _log_sum_exp(prior)
    assignment = np.exp(log_prior)
    means, variance = _first_means(assignment, features), np.full(features.shape[1], 1 / features.shape[1])
    neighbours, similarity = nearest(images)
    for step in range(STEPS + 1):
        likelihood = log_likelihood(features, means, variance)
        for _ in range(INNER_STEPS):
            agreement = _agree(assignment, neighbours, similarity)
            scores = log_prior + likelihood / LIKELIHOOD_SCALE + agreement / (2 * NEIGHBOURS)
            assignment = np.exp(scores - _log_sum_exp(scores))
        if step < STEPS:
            means = _unit(assignment.T @ features)
            variance = _spread(assignment, features, means)
    return assignment


def nearest(images: Floats) -> tuple[npt.NDArray[np.int64], Doubles]:
    """The K nearest other images (N, K) by cosine, and their cosines; of equal ones the first."""
    indices, values = [], []
    for start in range(0, len(images), BLOCK):
        scores = images[start : start + BLOCK] @ images.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]
        indices.append(best)
        values.append(np.take_along_axis(scores, best, axis=1).astype(np.float64))
    return np.concatenate(indices), np.concatenate(values)


def log_likelihood(features: Doubles, means: Doubles, variance: Doubles) -> Doubles:
    """-0.5 * squared Mahalanobis distance (N, C), without forming (N, C, D)."""
    scaled = features / variance
    cross = scaled @ means.T
    return -0.5 * ((scaled * features).sum(axis=1)[:, None] - 2 * cross + ((means**2) / variance).sum(axis=1)[None, :])


def _first_means(assignment: Doubles, features: Doubles) -> Doubles:
    """Unit mean of the most confident images of each class, weighted by their confidence."""
    best = np.argsort(-assignment, axis=0, kind="stable")[:MOST_CONFIDENT]  # (8, C)
    weights = np.take_along_axis(assignment, best, axis=0)
    return _unit(np.einsum("kc,kcd->cd", weights, features[best]))


def _spread(assignment: Doubles, features: Doubles, means: Doubles) -> Doubles:
    """The diagonal variance (D,) that all classes share."""
    squares = (features**2).mean(axis=0)
    cross = ((assignment.T @ features) * means).sum(axis=0) / len(features)
    own = (assignment.mean(axis=0)[:, None] * means**2).sum(axis=0)
    return np.maximum(squares - 2 * cross + own, 1e-12)


def _agree(assignment: Doubles, neighbours: npt.NDArray[np.int64], similarity: Doubles) -> Doubles:
    """Assignments of the neighbours an image has, and of the images it is a neighbour of (N, C)."""
    total = np.einsum("nk,nkc->nc", similarity, assignment[neighbours])
    for column in range(neighbours.shape[1]):
        np.add.at(total, neighbours[:, column], similarity[:, column, None] * assignment)
    return total


def _log_sum_exp(scores: Doubles) -> Doubles:
    top = scores.max(axis=1, keepdims=True)
    return top + np.log(np.exp(scores - top).sum(axis=1, keepdims=True))


def _unit(vectors: Doubles) -> Doubles:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
