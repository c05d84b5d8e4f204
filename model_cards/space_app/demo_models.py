"""The two models with the pipelines that lie beside their weights, loaded by name."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import transformers
from demo_settings import NamedModel
from transformers import AutoProcessor
from transformers.dynamic_module_utils import get_class_from_dynamic_module


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model, its processor, and its pipelines by task; they share the weights."""

    model: Any
    processor: Any
    pipelines: Mapping[str, Any]

    @property
    def fuses(self) -> bool:
        """Whether the model has one embedding for a pair."""
        return bool(self.model.config.fusion != "none")

    @property
    def scaling(self) -> dict[str, Any]:
        """The rule by which infrared is brought to 0..1."""
        return dict(self.processor.image_processor.infrared_scaling)

    def reading(self, scaling: Mapping[str, Any] | None) -> "Served":
        """The same model with another rule for infrared; with its own where that is None."""
        if scaling is None:
            return self
        processor = copy.copy(self.processor)
        processor.image_processor = copy.copy(processor.image_processor)
        processor.image_processor.infrared_scaling = dict(scaling)
        built = {task: type(one)(model=self.model, processor=processor) for task, one in self.pipelines.items()}
        return Served(model=self.model, processor=processor, pipelines=built)


def load_served(named: NamedModel, tasks: tuple[str, ...]) -> Served:
    """Load a model and the pipelines of its repository.

    Raises:
        ValueError: its repository brings no such pipeline.
    """
    where: dict[str, Any] = {"revision": named.revision, "trust_remote_code": True}
    shipped = transformers.AutoConfig.from_pretrained(named.name, **where).to_dict().get("custom_pipelines", {})
    if missing := sorted(set(tasks) - set(shipped)):
        raise ValueError(
            f"{named.name} brings no pipeline {missing[0]!r}; publish it with `python -m model_cards.publish model`, "
            "which puts the pipelines beside the weights."
        )
    (auto_class,) = {name for task in tasks for name in shipped[task]["pt"]}
    model = getattr(transformers, auto_class).from_pretrained(named.name, **where).eval()
    processor = AutoProcessor.from_pretrained(named.name, **where)
    classes = {
        task: get_class_from_dynamic_module(shipped[task]["impl"], named.name, revision=named.revision)
        for task in tasks
    }
    built = {task: found(model=model, processor=processor) for task, found in classes.items()}
    return Served(model=model, processor=processor, pipelines=built)


def module_beside(processor: Any, name: str) -> ModuleType:
    """A module that lies beside a processor's own, such as the loader of images."""
    package = type(processor.image_processor).__module__.rpartition(".")[0]
    return __import__(f"{package}.{name}", fromlist=[name])
