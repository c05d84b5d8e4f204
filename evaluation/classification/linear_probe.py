"""Protocol `linear-probe`: what a linear classifier finds in frozen embeddings; several classes may be in one image.

One L2-regularised logistic regression per class on unit embeddings, its strength C chosen by AP on the validation
split and refitted on train and validation together. FusionRS ends its grid at C = 10, where it nearly always chose.
Shapes: N images, D width, C classes, F = D + 1 with the constant.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .presence import average_precision

Doubles = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

GRID = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
MAX_STEPS = 200
TOLERANCE = 1e-10


def fit(features: Doubles, truth: Booleans, strength: float) -> Doubles:
    """Weights (F,), the constant last, that minimise 0.5 |w|^2 + strength * sum of weighted log losses.

    The classes weigh equally (`class_weight="balanced"`) and the constant is regularised like a weight: the problem
    that liblinear solves, here to its one minimum by Newton steps.

    Raises:
        ValueError: All images or none show the class.
        RuntimeError: The steps did not reach the minimum.
    """
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        raise ValueError(f"{positives} of {len(truth)} training images show the class; wanted some, and not all.")
    x = np.hstack([features, np.ones((len(features), 1))])  # (N, F)
    sign = np.where(truth, 1.0, -1.0)
    cost = strength * np.where(truth, len(truth) / (2 * positives), len(truth) / (2 * (len(truth) - positives)))
    weights = np.zeros(x.shape[1])
    value = _objective(weights, x, sign, cost)
    for _ in range(MAX_STEPS):
        missed = 0.5 * (1 - np.tanh(0.5 * sign * (x @ weights)))  # 1 - probability of the truth
        gradient = weights - x.T @ (cost * sign * missed)
        if np.linalg.norm(gradient) <= TOLERANCE * max(1.0, strength * len(truth)):
            return weights
        curvature = x.T @ ((cost * missed * (1 - missed))[:, None] * x) + np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        decrease, length = float(gradient @ step), 1.0
        if decrease <= len(truth) * np.finfo(np.float64).eps * value:  # less than the sum resolves
            return weights - step
        while (after := _objective(weights - length * step, x, sign, cost)) > value - 1e-4 * length * decrease:
            length /= 2
            if length < 1e-12:  # the value no longer resolves what is left of the gradient
                return weights
        weights, value = weights - length * step, after
    raise RuntimeError(f"logistic regression with C = {strength} has not converged in {MAX_STEPS} Newton steps.")


def decide(features: Doubles, weights: Doubles) -> Doubles:
    """Decision values (N,), higher for more certain."""
    return features @ weights[:-1] + weights[-1]


def choose_strength(precisions: dict[float, float]) -> float:
    """The C with the best validation AP; of equal ones the closest to 1 in ratio, then the smaller."""
    best = max(precisions.values())
    equal = [strength for strength, value in precisions.items() if best - value <= 1e-12]
    return min(equal, key=lambda strength: (abs(np.log(strength)), strength))


def probe(
    train: tuple[Doubles, Booleans], validation: tuple[Doubles, Booleans], test: Doubles, names: Sequence[str]
) -> tuple[Doubles, dict[str, float]]:
    """Test scores (N, C) and the C that each class chose.

    Args:
        train: Unit embeddings (N, D) and which classes each image shows (N, C).
        validation: The same.
        test: Unit embeddings.
        names: Class names.
    """
    widths = {
        name: part.shape[1] for name, part in (("train", train[0]), ("validation", validation[0]), ("test", test))
    }
    if len(set(widths.values())) > 1:
        raise ValueError(f"the embeddings of the splits have different widths: {widths}; all must be of one model.")
    both = np.concatenate([train[0], validation[0]]), np.concatenate([train[1], validation[1]])
    ones = np.ones((1, len(validation[0])), dtype=np.int64)
    present = np.ones(len(validation[0]), dtype=np.bool_)
    columns, chosen = [], {}
    for index, name in enumerate(names):
        if not validation[1][:, index].any():
            raise ValueError(f"no validation image shows {name!r}: its C cannot be chosen.")
        precisions = {}
        for strength in GRID:
            scores = decide(validation[0], fit(train[0], train[1][:, index], strength))
            precisions[strength] = float(average_precision(scores, validation[1][:, index], present, ones)[0])
        chosen[name] = choose_strength(precisions)
        columns.append(decide(test, fit(both[0], both[1][:, index], chosen[name])))
    return np.stack(columns, axis=1), chosen


def _objective(weights: Doubles, x: Doubles, sign: Doubles, cost: Doubles) -> float:
    return float(0.5 * weights @ weights + (cost * np.logaddexp(0.0, -sign * (x @ weights))).sum())
