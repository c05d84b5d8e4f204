"""The contrastive losses against closed forms and hand-computed values."""

import math

import pytest
import torch
import torch.nn.functional as F

from modeling_rsclip.losses_rsclip import pair_loss, positive_pairs, sigmoid_loss, softmax_loss, weighted_mean


def unit(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_zero_logits_give_log_n(rows: int) -> None:
    positives = positive_pairs(rows, None, torch.device("cpu"))
    assert softmax_loss(torch.zeros(rows, rows), positives).item() == pytest.approx(math.log(rows), abs=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_zero_logits_give_n_log_2_under_the_sigmoid(rows: int) -> None:
    positives = positive_pairs(rows, None, torch.device("cpu"))
    assert sigmoid_loss(torch.zeros(rows, rows), positives).item() == pytest.approx(rows * math.log(2), rel=1e-6)


def test_softmax_without_keys_is_clips_symmetric_cross_entropy() -> None:
    first, second, scale = unit(6, 8), unit(6, 8, seed=1), torch.tensor([10.0])
    logits = 10 * first @ second.t()
    target = torch.arange(6)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2
    torch.testing.assert_close(pair_loss("softmax", first, second, scale, None), expected)


def test_duplicates_by_key_equal_the_loss_computed_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 3.0], [2.0, 0.0, 1.0]])
    positives = positive_pairs(3, torch.tensor([7, 7, 9]), torch.device("cpu"))
    assert positives.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    total = 0.0
    for matrix in (logits.tolist(), logits.t().tolist()):
        for row, partners in zip(matrix, [[0, 1], [0, 1], [2]], strict=True):
            log_sum = math.log(sum(math.exp(value) for value in row))
            total += sum(log_sum - row[j] for j in partners) / len(partners) / 3 / 2
    assert softmax_loss(logits, positives).item() == pytest.approx(total, abs=1e-6)


def test_a_duplicate_caption_is_not_pushed_away() -> None:
    """Two images with one caption: as negatives the loss cannot fall under log 2, as positives its optimum is log 2 too
    but the gradient on equal texts vanishes."""
    image = F.normalize(torch.eye(2), dim=-1)
    text = F.normalize(torch.ones(2, 2), dim=-1).requires_grad_()
    keys = torch.tensor([1, 1])
    pair_loss("softmax", image, text, torch.tensor([20.0]), None, keys).backward()
    assert text.grad is not None
    torch.testing.assert_close(text.grad, torch.zeros(2, 2), atol=1e-6, rtol=0)


def test_sigmoid_loss_equals_the_published_form() -> None:
    first, second = unit(5, 8), unit(5, 8, seed=1)
    scale, bias = torch.tensor([12.0]), torch.tensor([-3.0])
    logits = first @ second.t() * 12 - 3
    signs = 2 * torch.eye(5) - 1
    expected = -F.logsigmoid(signs * logits).sum(dim=-1).mean()
    torch.testing.assert_close(pair_loss("sigmoid", first, second, scale, bias), expected)


def test_absent_rows_take_no_part() -> None:
    first, second, scale = unit(5, 8), unit(5, 8, seed=1), torch.tensor([10.0])
    present = torch.tensor([True, False, True, True, False])
    poisoned = first.clone()
    poisoned[~present] = float("nan")
    kept = pair_loss("softmax", first[present], second[present], scale, None)
    torch.testing.assert_close(pair_loss("softmax", poisoned, second, scale, None, present=present), kept)


def test_no_row_with_both_modalities_gives_zero_with_a_graph() -> None:
    first = unit(3, 4).requires_grad_()
    loss = pair_loss("softmax", first, unit(3, 4, seed=1), torch.tensor([10.0]), None, present=torch.zeros(3).bool())
    loss.backward()
    assert loss.item() == 0.0
    assert first.grad is not None
    assert first.grad.abs().max().item() == 0.0


def test_swapping_the_two_sides_leaves_the_loss() -> None:
    first, second, scale = unit(6, 8), unit(6, 8, seed=1), torch.tensor([10.0])
    keys = torch.tensor([1, 2, 2, 3, 4, 1])
    forward = pair_loss("softmax", first, second, scale, None, keys)
    torch.testing.assert_close(pair_loss("softmax", second, first, scale, None, keys), forward)


def test_bfloat16_embeddings_are_scored_in_float32() -> None:
    first, second, scale = unit(32, 16).bfloat16(), unit(32, 16, seed=1).bfloat16(), torch.tensor([100.0])
    loss = pair_loss("softmax", first, second, scale, None)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, pair_loss("softmax", first.float(), second.float(), scale, None))


def test_weights_are_normalised_over_the_pairs_at_hand() -> None:
    losses = {"rgb_text": torch.tensor(2.0), "infrared_text": torch.tensor(5.0)}
    weights = {"rgb_text": 1.0, "infrared_text": 3.0, "fused_text": 9.0}
    assert weighted_mean(losses, weights).item() == pytest.approx((2 + 15) / 4)


def test_keys_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one key for each of the 3 rows"):
        positive_pairs(3, torch.tensor([1, 2]), torch.device("cpu"))
