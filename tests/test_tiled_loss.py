"""The tiled loss against the plain one, in value, gradients and memory, on one process and on several ranks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiled_loss_ranks import Towers, cases, inputs
from torch.utils._python_dispatch import TorchDispatchMode

from modeling_rsclip.losses_rsclip import pair_loss
from train.clip import tiled_loss
from train.clip.gathered_loss import gather_counts, gather_with_gradient, gathered_pair_loss
from train.clip.tiled_loss import tiled_pair_loss

WORKER = Path(__file__).parent / "tiled_loss_ranks.py"


def embeddings(rows: int, width: int = 16, noise: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    first = F.normalize(torch.randn(rows, width, dtype=torch.float64, generator=generator), dim=-1)
    second = first + noise * torch.randn(rows, width, dtype=torch.float64, generator=generator)
    return first, F.normalize(second, dim=-1)


def plain_float64(
    kind: str,
    first: torch.Tensor,
    second: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    keys: torch.Tensor | None,
    present: torch.Tensor | None,
) -> torch.Tensor:
    """The definition, in the simplest words and in float64."""
    if present is not None:
        first, second, keys = first[present], second[present], None if keys is None else keys[present]
    logits = scale * first @ second.t()
    identity = torch.eye(len(first), dtype=torch.float64)
    positives = identity if keys is None else (keys[:, None] == keys[None, :]).double()
    if kind == "sigmoid":
        return -F.logsigmoid((2 * positives - 1) * (logits + bias)).sum() / len(first)
    shares = positives / positives.sum(dim=1, keepdim=True)
    return -(shares * (logits.log_softmax(dim=1) + logits.log_softmax(dim=0))).sum() / 2 / len(first)


def loss_and_gradients(function: Any, kind: str, tensors: list[torch.Tensor], *rest: Any) -> list[torch.Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    loss = function(kind, *leaves, *rest)
    (3 * loss).backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_loss, "TILE_ROWS", 7)
    monkeypatch.setattr(tiled_loss, "TILE_COLUMNS", 16)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("keyed", [False, True], ids=["alone", "keys"])
@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
@pytest.mark.parametrize("rows", [1, 2, 7, 16, 53])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_tiled_equals_plain_in_value_and_gradients(
    kind: str, rows: int, scale: float, keyed: bool, masked: bool
) -> None:
    doubles = [*embeddings(rows), torch.tensor([scale]).double(), torch.tensor([-10.0]).double()]
    keys = torch.randint(0, 1 + rows // 2, (rows,), generator=torch.Generator().manual_seed(1)) if keyed else None
    present = torch.arange(rows) % 3 != 1 if masked else None
    exact = loss_and_gradients(plain_float64, kind, doubles, keys, present)
    got = loss_and_gradients(tiled_pair_loss, kind, doubles, keys, present)
    for ours, theirs in zip(got, exact, strict=kind == "sigmoid"):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-11)
    floats = [tensor.float() for tensor in doubles]
    plain = loss_and_gradients(pair_loss, kind, floats, keys, present)
    got = loss_and_gradients(tiled_pair_loss, kind, floats, keys, present)
    for ours, theirs in zip(got, plain, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("keyed", [False, True], ids=["alone", "keys"])
@pytest.mark.parametrize("length", [0.01, 3.0, 20.0])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_embeddings_of_any_length_are_safe(kind: str, length: float, keyed: bool) -> None:
    first, second = embeddings(40)
    keys = torch.arange(40) // 3 if keyed else None
    tensors = [first * length, second * length, torch.tensor(50.0).double(), torch.tensor(-1.0).double()]
    exact = loss_and_gradients(plain_float64, kind, tensors, keys, None)
    got = loss_and_gradients(tiled_pair_loss, kind, [tensor.float() for tensor in tensors], keys, None)
    for ours, theirs in zip(got, exact, strict=kind == "sigmoid"):
        size = theirs.abs().max().item()
        torch.testing.assert_close(ours.double(), theirs, atol=max(1e-5, 1e-5 * size), rtol=1e-5)


def test_opposite_modalities_do_not_underflow() -> None:
    """All logits at -100, where exp(logit - bound) is zero in float32: the loss is still log N."""
    image = F.normalize(torch.ones(30, 8), dim=-1)
    loss, *gradients = loss_and_gradients(tiled_pair_loss, "softmax", [image, -image, torch.tensor([100.0])], None)
    assert loss.item() == pytest.approx(torch.tensor(30.0).log().item(), abs=1e-5)
    plain = loss_and_gradients(pair_loss, "softmax", [image, -image, torch.tensor([100.0])], None)
    for ours, theirs in zip(gradients, plain[1:], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_one_row_far_from_all_others_takes_the_exact_path() -> None:
    first, second = embeddings(30, noise=0.01)
    first[4], second[4] = -first.mean(dim=0), first.mean(dim=0)
    tensors = [F.normalize(first, dim=-1), F.normalize(second, dim=-1), torch.tensor([150.0]).double()]
    exact = loss_and_gradients(plain_float64, "softmax", tensors, None, None, None)
    got = loss_and_gradients(tiled_pair_loss, "softmax", [tensor.float() for tensor in tensors], None)
    for ours, theirs in zip(got, exact, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)


def test_gradients_pass_a_finite_difference_check() -> None:
    first, second = embeddings(5, width=3)
    keys = torch.tensor([1, 2, 1, 3, 2])
    tensors = [first, second, torch.tensor([7.0]).double(), torch.tensor([-2.0]).double()]
    for kind in ("softmax", "sigmoid"):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        assert torch.autograd.gradcheck(lambda *values, kind=kind: tiled_pair_loss(kind, *values, keys), leaves)


def test_absent_rows_take_no_part() -> None:
    first, second = embeddings(6)
    first[2] = float("nan")
    present = torch.tensor([True, True, False, True, True, True])
    kept = tiled_pair_loss("softmax", first[present], second[present], torch.tensor(9.0), None)
    torch.testing.assert_close(tiled_pair_loss("softmax", first, second, torch.tensor(9.0), None, None, present), kept)


def test_no_row_gives_zero_with_a_graph() -> None:
    first = torch.randn(3, 4).requires_grad_()
    loss = tiled_pair_loss("softmax", first, torch.randn(3, 4), torch.tensor(9.0), None, None, torch.zeros(3).bool())
    loss.backward()
    assert loss.item() == 0.0
    assert first.grad is not None
    assert first.grad.abs().max().item() == 0.0


def test_a_frozen_tower_gets_no_gradient_and_changes_none() -> None:
    first, second = embeddings(9)
    live = first.clone().requires_grad_()
    tiled_pair_loss("softmax", live, second, torch.tensor(9.0), None).backward()
    both = loss_and_gradients(tiled_pair_loss, "softmax", [first, second, torch.tensor(9.0)], None)
    assert live.grad is not None
    torch.testing.assert_close(3 * live.grad, both[1])


def test_bfloat16_embeddings_are_scored_in_float32_under_autocast() -> None:
    first, second = (tensor.bfloat16() for tensor in embeddings(32))
    tensors = [first, second, torch.tensor([100.0])]
    expected = loss_and_gradients(tiled_pair_loss, "softmax", [tensor.float() for tensor in tensors], None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss_and_gradients(tiled_pair_loss, "softmax", tensors, None)
    assert got[0].dtype == torch.float32
    assert got[1].dtype == torch.bfloat16
    torch.testing.assert_close(got[0], expected[0])
    torch.testing.assert_close(got[1], expected[1].bfloat16())


def test_wrong_arguments_are_refused() -> None:
    first, scale = torch.randn(3, 4), torch.tensor(1.0)
    with pytest.raises(ValueError, match="'hinge' is not one of 'softmax', 'sigmoid'"):
        tiled_pair_loss("hinge", first, first, scale, None)
    with pytest.raises(ValueError, match="one key for each of the 3 rows"):
        tiled_pair_loss("softmax", first, first, scale, None, torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="first has 3 rows and second 2"):
        tiled_pair_loss("softmax", first, first[:2], scale, None)


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_no_tensor_is_larger_than_a_tile_or_the_embeddings(kind: str) -> None:
    rows, width = 2500, 16
    first, second = (tensor.float().requires_grad_() for tensor in embeddings(rows, width))
    keys = torch.arange(rows) // 2
    with LargestTensor() as seen:
        tiled_pair_loss(kind, first, second, torch.tensor([100.0]), torch.tensor([-10.0]), keys).backward()
    assert rows**2 > 2 * tiled_loss.TILE_ROWS * tiled_loss.TILE_COLUMNS
    assert rows * width < seen.elements <= tiled_loss.TILE_ROWS * tiled_loss.TILE_COLUMNS


def test_without_ranks_gathering_changes_nothing() -> None:
    first, second = embeddings(9)
    assert gather_counts(9, first.device) == [9]
    assert gather_with_gradient(first, [9]) is first
    tensors = [first, second, torch.tensor(9.0)]
    gathered = loss_and_gradients(gathered_pair_loss, "softmax", tensors, None)
    assert all(map(torch.equal, gathered, loss_and_gradients(tiled_pair_loss, "softmax", tensors, None)))


def check_ranks(folder: Path, ranks: int) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(folder), str(rank), str(ranks)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        for worker in workers:
            output, _ = worker.communicate(timeout=120)
            assert worker.returncode == 0, output
    finally:
        for worker in workers:
            worker.kill()
    results = torch.load(folder / "results.pt", weights_only=True)
    for case, (losses, gradients) in zip(cases(ranks), results, strict=True):
        images, texts, keys, present = inputs(case)
        model = Towers(torch.float64)
        values = model(images.double(), texts.double())
        expected = plain_float64(case.kind, *values, keys, present)
        expected.backward()
        tolerance = 1e-12 if case.dtype == torch.float64 else 1e-6
        for loss in losses:
            torch.testing.assert_close(loss.double(), expected.detach(), atol=0, rtol=tolerance, msg=str(case))
        for name, parameter in model.named_parameters():
            if parameter.grad is None:  # the softmax does not feel the bias
                assert case.kind == "softmax"
                assert not gradients[name].any()
                continue
            error = (gradients[name].double() - parameter.grad).norm() / parameter.grad.norm()
            assert error <= tolerance, f"{case}, {name}: relative error {error}"


def test_two_ranks_even_uneven_and_empty_have_the_gradients_of_one(tmp_path: Path) -> None:
    check_ranks(tmp_path, 2)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [3, 4])
def test_more_ranks_have_the_gradients_of_one(tmp_path: Path, ranks: int) -> None:
    check_ranks(tmp_path, ranks)
