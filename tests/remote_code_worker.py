"""Loads saved folders through transformers' Auto classes and records what comes out, for `test_remote_code.py`.

Run `python -I remote_code_worker.py remote|package JOB.json`. `remote` is a user's machine, on which our packages
cannot be imported; `package` is one on which they are installed, so that the Auto classes give the packages' own.
"""

import importlib
import importlib.abc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
    pipeline,
)

PACKAGES = ("modeling_rsclip", "processing")
AUTO_CLASSES = {
    "AutoConfig": AutoConfig,
    "AutoImageProcessor": AutoImageProcessor,
    "AutoModel": AutoModel,
    "AutoModelForImageTextToText": AutoModelForImageTextToText,
    "AutoModelForMultimodalLM": AutoModelForMultimodalLM,
    "AutoModelForZeroShotImageClassification": AutoModelForZeroShotImageClassification,
    "AutoProcessor": AutoProcessor,
    "AutoTokenizer": AutoTokenizer,
}
LABELS = ["airport", "harbor with ships", "photo"]
QUESTION = "an infrared image of "
GREEDY = {"max_new_tokens": 8, "do_sample": False}


class RefusePackages(importlib.abc.MetaPathFinder):
    """Our packages cannot be imported, however the project is installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in PACKAGES:
            raise ModuleNotFoundError(f"No module named {fullname!r}: refused by the test", name=fullname)


def load(auto: str, folder: Path, **options: Any) -> Any:
    """Loads through one Auto class, as the README says."""
    return AUTO_CLASSES[auto].from_pretrained(folder, trust_remote_code=True, **options)


def class_names(**loaded: Any) -> dict[str, str]:
    return {auto: f"{type(thing).__module__}.{type(thing).__qualname__}" for auto, thing in loaded.items()}


@torch.no_grad()
def use_clip(folder: Path, pictures: Path, saved_again: Path | None) -> dict[str, Any]:
    """Everything that a user of RSCLIPModel calls."""
    config, image_processor, tokenizer = (
        load(auto, folder) for auto in ("AutoConfig", "AutoImageProcessor", "AutoTokenizer")
    )
    processor = load("AutoProcessor", folder)
    model = load("AutoModel", folder)
    classifier = load("AutoModelForZeroShotImageClassification", folder)
    rgb = [pictures / "rgb.png", pictures / "other.png"]
    infrared = [pictures / "infrared.png"] * 2
    inputs = processor(images=rgb, infrared=infrared, text=LABELS[:2], infrared_text=LABELS[1:])
    out = model(**inputs, return_loss=True)
    alone = {"infrared_values": inputs["infrared_values"]}
    labels = processor(images=rgb, text=LABELS)
    tensors = {f"input {name}": value for name, value in inputs.items()}
    tensors |= {f"output {name}": value for name, value in out.items() if isinstance(value, torch.Tensor)}
    tensors |= {f"loss {name}": value for name, value in out.losses.items()}
    tensors |= {
        "text": model.get_text_features(inputs["input_ids"], inputs.get("attention_mask")).pooler_output,
        "image": model.get_image_features(inputs["pixel_values"]).pooler_output,
        "infrared": model.get_infrared_features(**alone).pooler_output,
        "fused": model.get_fused_features(inputs["pixel_values"], **alone).pooler_output,
        "fused of infrared alone": model.get_fused_features(**alone).pooler_output,
        "classifier": classifier(**inputs).logits_per_image,
        "label scores": classifier(**labels).logits_per_image.softmax(-1),
        "label embeddings": model(**labels).text_embeds,
        "image processor alone": image_processor(images=rgb)["pixel_values"],
        "tokenizer alone": tokenizer(LABELS, padding=True, return_tensors="pt")["input_ids"],
    }
    names = class_names(
        AutoConfig=config,
        AutoModel=model,
        AutoModelForZeroShotImageClassification=classifier,
        AutoProcessor=processor,
        AutoImageProcessor=image_processor,
        AutoTokenizer=tokenizer,
    )
    found = {"tensors": tensors, "classes": names, **use_clip_pipelines(folder, rgb)}
    save_again(saved_again, model, processor)
    return found | describe(config, processor)


def use_clip_pipelines(folder: Path, rgb: list[Path]) -> dict[str, Any]:
    classify = pipeline("zero-shot-image-classification", model=str(folder), trust_remote_code=True)
    embed_image = pipeline("image-feature-extraction", model=str(folder), trust_remote_code=True)
    embed_text = pipeline("feature-extraction", model=str(folder), trust_remote_code=True)
    images = [Image.open(path) for path in rgb]
    return {
        "classified": classify(images[0], candidate_labels=LABELS, hypothesis_template="{}"),
        "classified in a batch": classify(images, candidate_labels=LABELS, hypothesis_template="{}", batch_size=2),
        "image features": embed_image(images[0]),
        "text features": embed_text(LABELS[1]),
    }


@torch.no_grad()
def use_captioner(folder: Path, pictures: Path, saved_again: Path | None) -> dict[str, Any]:
    """Everything that a user of the captioner calls."""
    config, image_processor, tokenizer = (
        load(auto, folder) for auto in ("AutoConfig", "AutoImageProcessor", "AutoTokenizer")
    )
    processor = load("AutoProcessor", folder)
    base = load("AutoModel", folder)
    model = load("AutoModelForImageTextToText", folder)
    multimodal = load("AutoModelForMultimodalLM", folder)
    inputs = processor(
        text=["<infrared><image>" + QUESTION, "<infrared>" + QUESTION],
        images=[pictures / "rgb.png"],
        infrared=[pictures / "infrared.png"] * 2,
    )
    training = processor(
        text=["<image> and <infrared>"],
        suffix=["ships"],
        images=[pictures / "rgb.png"],
        infrared=[pictures / "infrared.png"],
    )
    tensors = {f"input {name}": value for name, value in inputs.items()}
    tensors |= {
        "hidden state": base(**inputs).last_hidden_state,
        "logits": model(**inputs).logits,
        "logits of the other class": multimodal(**inputs).logits,
        "loss": model(**training).loss,
        "image tokens": torch.stack(
            model.get_image_features(inputs["pixel_values"], inputs["image_modalities"]).pooler_output
        ),
        "generated": model.generate(**inputs, **GREEDY),
        "beams": model.generate(**inputs, **GREEDY, num_beams=3),
        "image processor alone": image_processor(images=pictures / "rgb.png")["pixel_values"],
        "tokenizer alone": tokenizer(QUESTION, return_tensors="pt")["input_ids"],
    }
    names = class_names(
        AutoConfig=config,
        AutoModel=base,
        AutoModelForImageTextToText=model,
        AutoModelForMultimodalLM=multimodal,
        AutoProcessor=processor,
        AutoImageProcessor=image_processor,
        AutoTokenizer=tokenizer,
    )
    found = {"tensors": tensors, "classes": names, **use_captioner_pipeline(folder, pictures)}
    found["image token of the model"] = (config.image_token_id, config.num_image_tokens)
    found["image token of the processor"] = (processor.image_token_id, processor.num_image_tokens)
    found["captions without a pipeline"] = caption_by_hand(model, processor, pictures)
    save_again(saved_again, model, processor)
    return found | describe(config, processor)


def caption_by_hand(model: Any, processor: Any, pictures: Path) -> dict[str, str]:
    """What the prompts of `use_captioner_pipeline` give when they are written out."""
    rgb, infrared = pictures / "rgb.png", pictures / "infrared.png"
    prompts = {
        "chat": (f"USER: <image>\n<infrared>\n{QUESTION}\nASSISTANT:", {"images": rgb, "infrared": infrared}),
        "chat of infrared alone": (f"USER: <infrared>\n{QUESTION}\nASSISTANT:", {"infrared": infrared}),
        "images and text": ("<image>" + QUESTION, {"images": rgb}),
    }
    captions = {}
    for name, (prompt, images) in prompts.items():
        inputs = processor(text=prompt, **images)
        ids = model.generate(**inputs, **GREEDY)[0]
        captions[name] = processor.tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return captions


def use_captioner_pipeline(folder: Path, pictures: Path) -> dict[str, Any]:
    describe_images = pipeline("image-text-to-text", model=str(folder), trust_remote_code=True)
    rgb = Image.open(pictures / "rgb.png")
    content = [
        {"type": "image", "image": rgb},
        {"type": "infrared", "path": str(pictures / "infrared.png")},
        {"type": "text", "text": QUESTION},
    ]
    options = {"return_full_text": False, "generate_kwargs": GREEDY}
    answers = {
        "chat": describe_images(text=[{"role": "user", "content": content}], **options),
        "chat of infrared alone": describe_images(text=[{"role": "user", "content": content[1:]}], **options),
        "images and text": describe_images(images=[rgb], text="<image>" + QUESTION, **options),
    }
    return {"captions of the pipeline": {name: answer[0]["generated_text"] for name, answer in answers.items()}}


def describe(config: Any, processor: Any) -> dict[str, Any]:
    """The settings as loaded, and whether the configuration survives its own dictionary."""
    again = type(config).from_dict(config.to_dict())
    return {
        "config": config.to_dict(),
        "config equals its round trip": again == config and again.to_dict() == config.to_dict(),
        "image settings": processor.image_processor.to_dict(),
    }


def save_again(folder: Path | None, model: Any, processor: Any) -> None:
    if folder is not None:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)


def list_types(model: Any) -> dict[str, str]:
    """Data type of each parameter."""
    return {name: str(parameter.dtype) for name, parameter in model.named_parameters()}


def try_to_load(auto: str, folder: Path, trust: bool | None) -> str:
    """The error of a load, or `loaded`."""
    try:
        AUTO_CLASSES[auto].from_pretrained(folder, trust_remote_code=trust)
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "loaded"


def main(kind: str, job_path: str) -> None:
    if kind == "remote":
        sys.meta_path.insert(0, RefusePackages())
    else:
        sys.path.insert(0, str(Path(__file__).parent.parent))
        for package in PACKAGES:
            importlib.import_module(package)
    torch.set_num_threads(1)
    job = json.loads(Path(job_path).read_text())
    found = {}
    for name, (model_type, folder, saved_again) in job.get("use", {}).items():
        use = {"rsclip": use_clip, "rscaptioner": use_captioner}[model_type]
        found[name] = use(Path(folder), Path(job["pictures"]), Path(saved_again) if saved_again else None)
    for name, folder in job.get("types", {}).items():
        found[name] = list_types(load("AutoModel", Path(folder)))
    for name, (auto, folder, trust) in job.get("try", {}).items():
        found[name] = try_to_load(auto, Path(folder), trust)
    imported = [name in sys.modules for name in PACKAGES]
    if any(imported) == (kind == "remote"):
        raise SystemExit(f"{PACKAGES} are imported: {imported}, in a {kind} process")
    torch.save(found, job["results"])


if __name__ == "__main__":
    main(*sys.argv[1:])
