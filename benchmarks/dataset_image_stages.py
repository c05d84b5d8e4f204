"""Stages of the dataset builds that look at pixels, beside what a user would otherwise run."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image

from dataset_scripts.scenes.scene_simulator import simulate_scene
from dataset_scripts.stages.decode_check import check_images
from dataset_scripts.stages.infrared_caption_rules import write_infrared_captions
from dataset_scripts.stages.perceptual_hash import hamming_distances, perceptual_hashes
from dataset_scripts.stages.translate import TranslationInput
from dataset_scripts.stages.translate_luminance import LuminanceTranslator

from .dataset_peers import load_peer
from .side_by_side import Comparison, equal_results


def hashing(jpegs: Sequence[bytes], side: int, peers: Path) -> Comparison:
    """Perceptual hash from JPEG bytes."""
    imagehash = load_peer("imagehash", peers)

    def agreement(results: Mapping[str, Any]) -> dict[str, Any]:
        distances = hamming_distances(results["exact"], results["reduced_decode"])
        return {
            "reduced_decode_bits": {"mean": round(float(distances.mean()), 3), "max": int(distances.max())},
            "bytes_per_image": round(sum(map(len, jpegs)) / len(jpegs)),
        }

    return Comparison(
        name=f"perceptual_hash_{side}",
        what=f"64-bit perceptual hash from the bytes of JPEG files of {side} pixels; imagehash.phash",
        rows=len(jpegs),
        ours={
            "exact": lambda: perceptual_hashes(_opened(jpegs)),
            "reduced_decode": lambda: perceptual_hashes(_opened(jpegs), reduced_decode=True),
            # The most that an exact hash could reach: it needs all pixels.
            "decode_alone": lambda: [image.load() for image in _opened(jpegs)],
        },
        peers={"imagehash": imagehash and (lambda: [imagehash.phash(image) for image in _opened(jpegs)])},
        agreement=agreement,
    )


def hashing_decoded(jpegs: Sequence[bytes], side: int, peers: Path) -> Comparison:
    """Perceptual hash of images that are decoded already, as in the builds, where the decode check needs the pixels."""
    imagehash = load_peer("imagehash", peers)
    images = [image.convert("RGB") for image in _opened(jpegs)]
    return Comparison(
        name=f"perceptual_hash_decoded_{side}",
        what=f"64-bit perceptual hash of decoded images of {side} pixels; imagehash.phash",
        rows=len(images),
        ours={"exact": lambda: perceptual_hashes(images)},
        peers={"imagehash": imagehash and (lambda: [imagehash.phash(image) for image in images])},
    )


def decode_check(jpegs: Sequence[bytes], side: int) -> Comparison:
    """Decode check against `Dataset.map`."""
    dataset = Dataset.from_dict({"image": list(jpegs)})

    def naive(row: Mapping[str, Any]) -> dict[str, Any]:
        try:
            image = Image.open(io.BytesIO(row["image"])).convert("RGB")
        except Exception:  # as in the code this stands for
            return {"width": None, "height": None, "sha256": None}
        return {"width": image.width, "height": image.height, "sha256": hashlib.sha256(row["image"]).hexdigest()}

    def mapped() -> list[str]:
        made = dataset.map(naive, remove_columns=["image"], load_from_cache_file=False, keep_in_memory=True)
        return list(made["sha256"])

    return Comparison(
        name=f"decode_check_{side}",
        what=f"decode check and SHA-256 of JPEG files of {side} pixels; Dataset.map in memory with Pillow",
        rows=len(jpegs),
        ours={"rsclip": lambda: [image.sha256 for image in check_images(jpegs)[0]]},
        peers={"datasets_map": mapped},
        agreement=equal_results("rsclip", "datasets_map"),
    )


def luminance(images: Sequence[Image.Image]) -> Comparison:
    """The greyscale control as PNG."""
    inputs = [TranslationInput(f"image-{number}", image, None) for number, image in enumerate(images)]
    translator = LuminanceTranslator()

    def naive() -> list[bytes]:
        encoded = []
        for image in images:
            buffer = io.BytesIO()
            image.convert("L").save(buffer, "PNG")
            encoded.append(buffer.getvalue())
        return encoded

    def agreement(results: Mapping[str, Any]) -> dict[str, Any]:
        pairs = list(zip(results["rsclip"], results["pillow"], strict=True))
        return {
            "same_pixels": all(_pixels(own).tobytes() == _pixels(peer).tobytes() for own, peer in pairs),
            "bytes_over_pillow": round(sum(len(own) for own, _ in pairs) / sum(len(peer) for _, peer in pairs), 3),
        }

    return Comparison(
        name="luminance",
        what="greyscale control of decoded images as PNG bytes with SHA-256; Pillow with its default compression",
        rows=len(images),
        ours={"rsclip": lambda: [made.png for made in translator.translate(inputs)[0]]},
        peers={"pillow": naive},
        agreement=agreement,
    )


def rule_captions(count: int) -> Comparison:
    """Infrared captions by rules, from measured statistics of simulated infrared of 224 pixels."""
    scenes = [simulate_scene(0, index, 224) for index in range(count)]
    names = [f"scene-{index}" for index in range(count)]
    images, captions = [scene.infrared for scene in scenes], [scene.captions[0] for scene in scenes]
    return Comparison(
        name="rule_captions",
        what="infrared captions by rules for 16-bit images of 224 pixels; no peer",
        rows=count,
        ours={"rsclip": lambda: write_infrared_captions(images, captions, names)},
        peers={},
        agreement=lambda results: {"written": len(results["rsclip"][0])},
    )


def _opened(jpegs: Sequence[bytes]) -> list[Image.Image]:
    return [Image.open(io.BytesIO(data)) for data in jpegs]


def _pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))
