"""Muon: its step beside torch's, singular values, and which parameters it takes."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import train.engine.muon
from modeling_rsclip import RSCLIPModel
from train.captioner.config import CaptionerConfig, CaptionerModelConfig
from train.clip.config import AdapterConfig, ClipConfig, ClipModelConfig
from train.engine.config import OptimConfig
from train.engine.muon import MuonAdamW, hidden_matrices, orthogonalized
from train.engine.optimizer import make_optimizer

STEPS = 5


def parameters(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def take_steps(optimizers: list[torch.optim.Optimizer], moved: list[nn.Parameter]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        for parameter in moved:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for optimizer in optimizers:
            optimizer.step()
    return [parameter.detach() for parameter in moved]


def test_a_step_is_that_of_torch_up_to_the_bfloat16_of_torch() -> None:
    shapes = ((8, 8), (8, 8), (24, 8), (8, 24))
    ours = parameters(*shapes)
    found = take_steps([MuonAdamW([{"params": ours, "muon": True, "weight_decay": 0.3}], lr=0.05)], ours)
    theirs, start = parameters(*shapes), parameters(*shapes)
    torchs = torch.optim.Muon(theirs, lr=0.05, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    for one, other, before in zip(found, take_steps([torchs], theirs), start, strict=True):
        moved = (other - before).norm()
        assert (one - other).norm() < 0.02 * moved, "the whole way is the same within bfloat16's rounding"
        assert moved > 0.1


def test_singular_values_are_about_one_and_singular_vectors_stay() -> None:
    generator = torch.Generator().manual_seed(2)
    left, _ = torch.linalg.qr(torch.randn(16, 16, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(40, 16, generator=generator))
    values = torch.logspace(-1.5, 1, 16)
    wide = (left * values) @ right.mT
    for matrices in (wide[None], wide.mT[None], torch.stack([wide, 100 * wide])):
        result = orthogonalized(matrices)
        for found in result if matrices.shape[1] == 16 else result.mT:
            between = left.mT @ found @ right
            assert between.diagonal().min() > 0.65
            assert between.diagonal().max() < 1.25
            torch.testing.assert_close(between, between.diagonal().diag(), atol=1e-3, rtol=0)
    assert not orthogonalized(torch.zeros(1, 4, 6)).any()


def test_all_else_takes_the_step_of_adamw() -> None:
    ours, theirs = parameters((6, 6), (6,), (5, 3)), parameters((6, 6), (6,), (5, 3))
    groups = [{"params": ours[:1], "muon": True}, {"params": ours[1:]}]
    found = take_steps([MuonAdamW(groups, lr=0.1, weight_decay=0.2, betas=(0.9, 0.98))], ours)
    wanted = take_steps([torch.optim.AdamW(theirs[1:], lr=0.1, weight_decay=0.2, betas=(0.9, 0.98))], theirs)
    assert all(torch.equal(one, other) for one, other in zip(found[1:], wanted[1:], strict=True))
    assert not torch.equal(found[0], wanted[0])


def test_a_saved_state_goes_on_as_if_it_had_not_been_saved() -> None:
    moved, again = parameters((4, 6), (6,)), parameters((4, 6), (6,))
    optimizers = [MuonAdamW([{"params": one[:1], "muon": True}, {"params": one[1:]}], lr=0.1) for one in (moved, again)]
    take_steps([optimizers[0]], moved)
    for one, other in zip(moved, again, strict=True):
        other.data.copy_(one.data)
    optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
    found = take_steps([optimizers[1]], again)
    assert all(torch.equal(one, other) for one, other in zip(found, take_steps([optimizers[0]], moved), strict=True))


def test_the_size_of_an_update_is_that_of_adamw() -> None:
    (moved,) = parameters((32, 8))
    before = moved.detach().clone()
    moved.grad = torch.randn(32, 8, generator=torch.Generator().manual_seed(3))
    MuonAdamW([{"params": [moved], "muon": True, "weight_decay": 0.0}], lr=0.5).step()
    rms = (moved.detach() - before).pow(2).mean().sqrt().item()
    assert rms == pytest.approx(0.5 * 0.2, rel=0.2)


def test_a_parameter_without_a_gradient_stays_and_its_state_is_not_made() -> None:
    moved = parameters((4, 4), (4, 4))
    moved[0].grad = torch.ones(4, 4)
    before = moved[1].detach().clone()
    optimizer = MuonAdamW([{"params": moved, "muon": True}], lr=0.1)
    optimizer.step()
    assert torch.equal(moved[1], before)
    assert list(optimizer.state) == [moved[0]]


def test_only_matrices_inside_layers_are_for_muon(tiny_clip: Callable[..., RSCLIPModel]) -> None:
    model = tiny_clip()
    optimizer, _ = make_optimizer(model, OptimConfig(optimizer="muon", learning_rate=1e-3))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    taken = {names[id(one)] for group in optimizer.param_groups if group["muon"] for one in group["params"]}
    assert "text_model.encoder.layers.0.self_attn.q_proj.weight" in taken
    assert "vision_model.encoder.layers.0.mlp.fc2.weight" in taken
    left = set(names.values()) - taken
    assert {"logit_scale", "text_model.embeddings.token_embedding.weight", "text_projection.weight"} <= left
    assert not any(".layers." in name and "norm" not in name and name.endswith("weight") for name in left)
    decayed = {group["weight_decay"] for group in optimizer.param_groups if group["muon"]}
    assert decayed == {OptimConfig().weight_decay}


def test_layers_are_found_whatever_a_language_model_calls_them() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=40, n_positions=8))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    taken = sorted(names[id(weight)] for weight in hidden_matrices(model))
    maps = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert taken == [f"transformer.h.{layer}.{name}.weight" for layer in (0, 1) for name in maps]


def test_adapters_are_trained_by_adamw_only() -> None:
    muon = OptimConfig(optimizer="muon")
    with pytest.raises(ValueError, match=r"adapter.kind='lora' is trained by AdamW; set optim.optimizer adamw"):
        ClipConfig(adapter=AdapterConfig(kind="lora"), model=ClipModelConfig(source="base"), optim=muon)
    with pytest.raises(ValueError, match=r"model.tune='lora' is trained by AdamW; set optim.optimizer adamw"):
        CaptionerConfig(model=CaptionerModelConfig(tune="lora"), optim=muon)


def test_many_matrices_of_a_shape_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parted = parameters(*[(4, 6)] * 5), parameters(*[(4, 6)] * 5)
    found = take_steps([MuonAdamW([{"params": whole, "muon": True}], lr=0.1)], whole)
    monkeypatch.setattr(train.engine.muon, "_TOGETHER", 50)  # two matrices
    sizes: list[int] = []
    monkeypatch.setattr(
        train.engine.muon, "orthogonalized", lambda stack: sizes.append(len(stack)) or orthogonalized(stack)
    )
    for one, other in zip(
        found, take_steps([MuonAdamW([{"params": parted, "muon": True}], lr=0.1)], parted), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert sizes == [2, 2, 1] * STEPS


def test_a_model_without_layers_or_a_tensor_of_three_dimensions_is_refused() -> None:
    with pytest.raises(ValueError, match="no matrix of a layer is trained"):
        make_optimizer(nn.Linear(3, 3), OptimConfig(optimizer="muon"))
    with pytest.raises(ValueError, match=r"matrices only, got shape \(2, 2, 2\)"):
        MuonAdamW([{"params": parameters((2, 2, 2)), "muon": True}], lr=0.1)
