"""What every model of the package adds to `PreTrainedModel`: loud loading, and parameters that stay float32."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from transformers import PreTrainedModel

from .towers_rsclip import shared_parameter_names


class LoudPreTrainedModel(PreTrainedModel):
    """Refuses to start from weights that a checkpoint does not hold, and keeps `_fp32_parameters` in float32."""

    _fp32_parameters: tuple[str, ...] = ()
    hub_auto_map: dict[str, str] = {}
    _tied_weights_keys: dict[str, str] | None = None
    _shared_with: dict[str, str] | None = None

    @classmethod
    def is_custom_code(cls) -> bool:
        """Loads like a class of transformers. For custom code it leaves modules without parameters of their own, CLIP's
        attention among them, uninitialised, and takes missing weights of shared modules for loaded."""
        return False

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *args: Any,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Loads a checkpoint.

        Raises:
            OSError: The checkpoint lacks weights of the model. transformers would fill them with random numbers and
                only log it. Passing `state_dict=` or `ignore_mismatched_sizes=True` says that this is intended.
        """
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        missing = sorted(info["missing_keys"])
        intended = kwargs.get("state_dict") is not None or kwargs.get("ignore_mismatched_sizes", False)
        if missing and not intended:
            shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
            raise OSError(
                f"{pretrained_model_name_or_path} lacks {len(missing)} weights of {cls.__name__} ({shown}); they "
                "would start from random numbers. Load a checkpoint of this architecture, or start from a CLIP with "
                "import_clip."
            )
        return (model, info) if output_loading_info else model

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Saves weights, configuration and code; the folder loads through every class of `hub_auto_map`.

        The map is written anew: one that came from the Hub may point to another repository at no fixed revision.
        """
        if self.hub_auto_map:
            self.config.auto_map = dict(self.hub_auto_map)
        super().save_pretrained(save_directory, **kwargs)

    @property
    def dtype(self) -> torch.dtype:
        """The data type of the weights, as saved in the configuration; not that of what stays in float32."""
        named = self.named_parameters()
        return next(p.dtype for name, p in named if p.is_floating_point() and name not in self._fp32_parameters)

    def declare_shared(self, target: str, source: str) -> None:
        """Declares the parameters that submodule `target` shares with submodule `source`: saved once, tied on loading.

        transformers ties only where `tie_word_embeddings` is set; these belong to the architecture, so they always are.
        """
        names = shared_parameter_names(self.get_submodule(source), self.get_submodule(target))
        self._shared_with = {f"{target}.{name}": f"{source}.{name}" for name in names}
        self._tied_weights_keys = {**(self._tied_weights_keys or {}), **self._shared_with}

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Adds what `declare_shared` named to the ties that the configuration asks for."""
        return {**super().get_expanded_tied_weights_keys(all_submodels), **(self._shared_with or {})}

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Moves and casts like `nn.Module`, but `model.to(torch.bfloat16)` leaves `_fp32_parameters` in float32.

        In bfloat16 a logit scale of 4.6 moves in steps of 0.03 and stops learning.
        """
        kept = {name: getattr(self, name) for name in self._fp32_parameters if getattr(self, name) is not None}
        kept = {name: parameter.data for name, parameter in kept.items()}
        super()._apply(fn, recurse)
        for name, before in kept.items():
            parameter = getattr(self, name)
            if parameter.dtype in (torch.bfloat16, torch.float16) and before.device.type != "meta":
                parameter.data = before.to(device=parameter.device, dtype=torch.float32)
        return self
