"""What `handler` needs: a tiny CLIP with its handler, requests with known answers, and requests that mean harm."""

import base64
import io
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from model_cards.shipped_files import ship_handler
from modeling_rsclip import RSCLIPConfig, RSCLIPModel
from processing import RSCLIPProcessor, RSImageProcessor

LABELS = ["an airport", "a harbor with ships", "a solar farm", "a forest", "a residential area"]
SPECIAL_TOKENS = ["<unk>", "<pad>", "<s>", "</s>"]
SIDE = 64


@dataclass(frozen=True)
class Hostile:
    """A request and the refusal that it must get."""

    name: str
    body: bytes
    status: int
    kind: str


def save_tiny_clip(folder: Path, seed: int) -> Path:
    """A CLIP of random weights with an infrared tower and fusion, its processor and its handler."""
    torch.manual_seed(seed)
    tokenizer = _make_tokenizer()
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    tokens = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1, "max_position_embeddings": 32}
    config = RSCLIPConfig(
        text_config={"model_type": "clip_text_model", "vocab_size": len(tokenizer), **shape, **tokens},
        vision_config={"model_type": "clip_vision_model", "image_size": SIDE, "patch_size": 16, **shape},
        projection_dim=32,
        infrared_tower="separate",
        fusion="gated",
    )
    model = RSCLIPModel(config).eval()
    with torch.no_grad():  # away from the start, where all inputs look alike
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    images = RSImageProcessor(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        infrared_scaling={"rule": "percentile", "low": 1.0, "high": 99.0},
    )
    model.save_pretrained(folder)
    RSCLIPProcessor(images, tokenizer, max_text_length=32).save_pretrained(folder)
    ship_handler(folder)
    return folder


def known_requests(seed: int) -> list[bytes]:
    """Embeddings and classifications of RGB, infrared, pairs, texts and batches, in several formats."""
    generator = np.random.default_rng(seed)
    scenes = [_scene(generator) for _ in range(6)]
    rgb = [_encode(scene, file_format) for scene, file_format in zip(scenes, ["JPEG", "PNG", "WEBP"] * 2, strict=True)]
    infrared = [
        _encode(scene[..., 0].astype(np.uint16) * 200, file_format)
        for scene, file_format in zip(scenes, ["PNG", "TIFF"] * 3, strict=True)
    ]
    pairs = [{"image": image, "infrared": heat} for image, heat in zip(rgb, infrared, strict=True)]
    sent: list[Any] = [{"inputs": image} for image in rgb]
    sent += [{"inputs": {"infrared": image}} for image in infrared]
    sent += [{"inputs": pair, "parameters": {"candidate_labels": LABELS}} for pair in pairs]
    sent += [{"inputs": [*pairs[:3], {"text": LABELS[0]}, {"infrared": infrared[4], "text": LABELS[1]}]}]
    sent += [{"inputs": [{"text": label} for label in LABELS]}]
    return [json.dumps(request).encode() for request in sent]


def hostile_requests() -> list[Hostile]:
    """Oversized bodies, bombs, strips, private addresses, and nonsense."""

    def image(content: bytes) -> bytes:
        return _body({"inputs": base64.b64encode(content).decode()})

    def url(address: str) -> bytes:
        return _body({"inputs": {"image": {"url": address}}})

    return [
        Hostile("oversized body", b'{"inputs": "' + b"A" * 25_000_000 + b'"}', 413, "too_large"),
        Hostile("bomb of 400 megapixels", image(flat_png(20_000, 20_000)), 413, "too_large"),
        Hostile("bomb of 16.7 megapixels", image(flat_png(4096, 4096)), 413, "image_decompression_bomb"),
        Hostile("strip of 1 x 1,000,000", image(flat_png(1, 1_000_000)), 422, "image_too_small"),
        Hostile("strip of 20 x 10,000", image(flat_png(20, 10_000)), 422, "image_aspect_ratio"),
        Hostile("metadata service", url("http://169.254.169.254/latest/meta-data/"), 403, "url_not_allowed"),
        Hostile("loopback", url("https://127.0.0.1:8080/"), 403, "url_not_allowed"),
        Hostile("not base64", _body({"inputs": "!!"}), 422, "bad_base64"),
        Hostile("not JSON", b"{", 400, "bad_json"),
        Hostile("deep nest", b"[" * 100_000, 400, "bad_json"),
    ]


def flat_png(width: int, height: int) -> bytes:
    """A black grey-level PNG of any size in few bytes, written without ever having its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer, row = zlib.compressobj(9), bytes(width + 1)
    rows = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _body(request: Any) -> bytes:
    return json.dumps(request).encode()


def _scene(generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Smooth colours with some noise (256, 256, 3)."""
    coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((256, 256))
    noisy = np.asarray(coarse).astype(np.int16) + generator.integers(-8, 9, (256, 256, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _encode(pixels: npt.NDArray[Any], file_format: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return base64.b64encode(buffer.getvalue()).decode()


def _make_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(LABELS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
