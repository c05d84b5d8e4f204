"""Converts the released checkpoint of DiffV2IR (one file, names of latent diffusion) to the folder form of diffusers.

Run once: `python -m dataset_scripts.stages.diffv2ir_checkpoint --checkpoint FILE --stable-diffusion FOLDER --output
FOLDER`. Stable Diffusion 1.5, from which DiffV2IR was trained, gives tokenizer, text encoder and the configurations.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import tyro
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPTextModel

State = Mapping[str, torch.Tensor]
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
# Its averaged weights, whose names have lost their dots.
AVERAGED = "model_ema."
# Half precision has three digits.
TEXT_TOLERANCE = 2e-3


def convert_checkpoint(checkpoint: Path, stable_diffusion: Path, output: Path) -> Path:
    """Write the model of a checkpoint as a folder that `TranslatorSettings.checkpoint` takes.

    Args:
        checkpoint: `.ckpt` or `.safetensors`.
        stable_diffusion: Stable Diffusion 1.5 in the folder form of diffusers.
        output: a folder that does not exist yet.

    Raises:
        ValueError: the checkpoint is not one of DiffV2IR, or was trained on another text encoder.
    """
    if output.exists():
        raise FileExistsError(f"{output} exists; name a folder that does not.")
    state = load_checkpoint(checkpoint)
    unet_state = averaged_unet(state)
    config = {"config": str(stable_diffusion), "local_files_only": True}
    in_channels = unet_state[f"{UNET}input_blocks.0.0.weight"].shape[1]
    # Without memory tricks, which leave a missing weight without content; `_check_complete` finds it either way.
    unet: Any = UNet2DConditionModel.from_single_file(
        unet_state, subfolder="unet", in_channels=in_channels, low_cpu_mem_usage=False, **config
    )
    _check_complete(unet, unet_state, UNET)
    vae_state = {name: tensor for name, tensor in state.items() if name.startswith(VAE)}
    vae: Any = AutoencoderKL.from_single_file(vae_state, subfolder="vae", low_cpu_mem_usage=False, **config)
    _check_complete(vae, vae_state, VAE)
    text_encoder: Any = CLIPTextModel.from_pretrained(stable_diffusion, subfolder="text_encoder")
    _check_text_encoder(text_encoder, state)
    unet.save_pretrained(output / "unet")
    vae.save_pretrained(output / "vae")
    text_encoder.save_pretrained(output / "text_encoder")
    AutoTokenizer.from_pretrained(stable_diffusion, subfolder="tokenizer").save_pretrained(output / "tokenizer")
    EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="linspace"
    ).save_pretrained(output / "scheduler")
    return output


def load_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, and run nothing that is in it."""
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than weights, and reading it would run its code. If you trust whoever made it, save "
            "its weights alone: torch.save(torch.load(path, weights_only=False)['state_dict'], other_path)."
        ) from error
    state = content.get("state_dict", content)
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}


def averaged_unet(state: State) -> dict[str, torch.Tensor]:
    """The U-Net with the averaged weights, which the published program samples with, under the names of the others."""
    names = [name for name in state if name.startswith(UNET)]
    averaged = {name: AVERAGED + name.removeprefix("model.").replace(".", "") for name in names}
    missing = [name for name in averaged.values() if name not in state]
    if not names or missing:
        raise ValueError(
            f"the checkpoint has {len(names)} weights under {UNET!r} and lacks the average of {len(missing)} of them "
            f"({', '.join(missing[:3])}); wanted a whole checkpoint of DiffV2IR."
        )
    return {name: state[average] for name, average in averaged.items()}


def _check_complete(model: torch.nn.Module, state: State, prefix: str) -> None:
    """Every weight has come from the checkpoint: as many numbers, and the same sum of squares."""
    ours, theirs = list(model.state_dict().values()), [state[name] for name in state if name.startswith(prefix)]
    counts = [sum(tensor.numel() for tensor in tensors) for tensors in (ours, theirs)]
    squares = [sum(float(tensor.double().square().sum()) for tensor in tensors) for tensors in (ours, theirs)]
    if counts[0] != counts[1] or abs(squares[0] - squares[1]) > 1e-9 * squares[1]:
        raise ValueError(
            f"{type(model).__name__} has {counts[0]} numbers, the checkpoint {counts[1]} under {prefix!r}, or not the "
            "same ones; the configuration of stable_diffusion belongs to another model."
        )


def _check_text_encoder(text_encoder: torch.nn.Module, state: State) -> None:
    """DiffV2IR was trained with a frozen text encoder; what was given must be that one."""
    theirs = {name.removeprefix(TEXT).removeprefix("text_model."): state[name] for name in state}
    for name, ours in text_encoder.state_dict().items():
        other = theirs.get(name.removeprefix("text_model."))
        if name.endswith("position_ids"):
            continue
        if other is None or other.shape != ours.shape or not torch.allclose(other.float(), ours, atol=TEXT_TOLERANCE):
            raise ValueError(
                f"the text encoder of stable_diffusion differs from the checkpoint's in {name!r}; give the Stable "
                "Diffusion that the checkpoint was trained from."
            )


if __name__ == "__main__":
    tyro.cli(convert_checkpoint)
