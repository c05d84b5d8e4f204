"""Requests that mean harm, or were written wrongly: what is sent, and what must come back."""

import io
import json
import math
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image
from processing_fixtures import make_scene
from served_models import INFRARED, encode, infrared_text, rgb_text, to_text

Expected = tuple[int, str]


def flat_png(width: int, height: int) -> bytes:
    """A grey PNG of any size in few bytes, written without ever having its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer, rows = zlib.compressobj(9), []
    row = bytes(width + 1)
    for _ in range(height):
        rows.append(packer.compress(row))
    rows.append(packer.flush())
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"".join(rows)) + chunk(b"IEND", b"")


def animation(file_format: str) -> bytes:
    frames = [Image.fromarray(make_scene(seed=seed)) for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, file_format, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def damaged(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_hole(value: float) -> bytes:
    """A float TIFF in which a corner is something else."""
    pixels = INFRARED.astype(np.float32)
    pixels[:4, :4] = value
    return encode(pixels, "TIFF")


def image(content: bytes) -> dict[str, Any]:
    return {"inputs": {"image": to_text(content)}}


def infrared(content: bytes, **parameters: Any) -> dict[str, Any]:
    return {"inputs": {"infrared": to_text(content)}, "parameters": parameters}


def parameters(**given: Any) -> dict[str, Any]:
    return {"inputs": rgb_text(), "parameters": given}


def labels(*texts: Any) -> dict[str, Any]:
    return parameters(candidate_labels=list(texts))


SCENE = make_scene()
MALFORMED: Expected = (400, "bad_request")
# What is sent as JSON.
OBJECTS: dict[str, tuple[Any, Expected]] = {
    "null": (None, MALFORMED),
    "a list": ([1, 2], MALFORMED),
    "a number": (7, MALFORMED),
    "no inputs": ({"parameters": {}}, MALFORMED),
    "unknown key": ({"inputs": rgb_text(), "options": {}}, MALFORMED),
    "null inputs": ({"inputs": None}, MALFORMED),
    "number as input": ({"inputs": 3}, MALFORMED),
    "no input at all": ({"inputs": []}, MALFORMED),
    "empty input": ({"inputs": {}}, MALFORMED),
    "nulls as input": ({"inputs": {"image": None}}, MALFORMED),
    "unknown input": ({"inputs": {"picture": rgb_text()}}, MALFORMED),
    "list in a list": ({"inputs": [[rgb_text()]]}, MALFORMED),
    "number as image": ({"inputs": {"image": 5}}, MALFORMED),
    "list as image": ({"inputs": {"image": [rgb_text()]}}, MALFORMED),
    "path as image": ({"inputs": {"image": {"path": "/etc/passwd"}}}, MALFORMED),
    "number as text": ({"inputs": {"text": 5}}, MALFORMED),
    "blank text": ({"inputs": {"text": " \n"}}, (422, "bad_text")),
    "half a character": ({"inputs": {"text": "\ud800"}}, (422, "bad_text")),
    "long text": ({"inputs": {"text": "a" * 1001}}, (413, "too_large")),
    "many inputs": ({"inputs": [{"text": "a"}] * 33}, (413, "too_large")),
    "parameters as list": ({"inputs": rgb_text(), "parameters": [1]}, MALFORMED),
    "unknown parameter": (parameters(temperature=0.5), MALFORMED),
    "other task": (parameters(task="caption"), (422, "bad_parameter")),
    "number as task": (parameters(task=1), (422, "bad_parameter")),
    "no labels": (parameters(task="classify"), MALFORMED),
    "empty labels": (labels(), MALFORMED),
    "labels as text": (parameters(candidate_labels="a, b"), MALFORMED),
    "number as label": (labels("a", 2), MALFORMED),
    "blank label": (labels("a", ""), (422, "bad_text")),
    "label twice": (labels("a", "a"), (422, "bad_parameter")),
    "many labels": (labels(*map(str, range(257))), (413, "too_large")),
    "long label": (labels("a", "b" * 1001), (413, "too_large")),
    "labels of a text": ({"inputs": {"text": "x"}, "parameters": {"candidate_labels": ["a"]}}, MALFORMED),
    "template without a place": (
        parameters(candidate_labels=["a"], hypothesis_template="x"),
        (422, "bad_parameter"),
    ),
    "template of format": (
        parameters(candidate_labels=["a"], hypothesis_template="{0.__class__} {}"),
        (422, "bad_parameter"),
    ),
    "unknown view": (parameters(candidate_labels=["a"], view="both"), (422, "bad_parameter")),
    "view of what is missing": (parameters(candidate_labels=["a"], view="infrared"), (422, "bad_parameter")),
    "view without labels": (parameters(view="rgb"), MALFORMED),
    "not base64": ({"inputs": "!!$$ ??"}, (422, "bad_base64")),
    "base64 with a break": ({"inputs": rgb_text()[:40] + "\n" + rgb_text()[40:]}, (422, "bad_base64")),
    "base64 without padding": ({"inputs": to_text(b"four").rstrip("=")}, (422, "bad_base64")),
    "data URL": ({"inputs": "data:image/png;base64," + rgb_text()}, (422, "bad_base64")),
    "other alphabet": ({"inputs": "жжжж"}, (422, "bad_base64")),
    "empty base64": ({"inputs": ""}, (422, "bad_base64")),
    "base64 of text": (image(b"hello, this is no image"), (422, "image_undecodable")),
    "base64 of HTML": (image(b"<html><body>" + b"x" * 500), (422, "image_undecodable")),
    "PostScript": (image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n"), (422, "image_undecodable")),
    "SVG": (image(b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>'), (422, "image_undecodable")),
    "header alone": (image(encode(SCENE)[:33]), (422, "image_undecodable")),
    "half a PNG": (image(damaged(encode(SCENE))), (422, "image_damaged")),
    "half a JPEG": (image(damaged(encode(make_scene(300, 400), "JPEG", quality=95))), (422, "image_damaged")),
    "many bytes": (image(encode(SCENE) + bytes(10_000_001)), (413, "too_large")),
    "strip 1 x 5,000": (image(flat_png(1, 5000)), (422, "image_too_small")),
    "strip 1 x 1,000,000": (image(flat_png(1, 1_000_000)), (422, "image_too_small")),
    "strip 1,000,000 x 16": (image(flat_png(1_000_000, 16)), (413, "image_too_large")),
    "strip 20 x 5,000": (image(flat_png(20, 5000)), (422, "image_aspect_ratio")),
    "bomb of 400 megapixels": (image(flat_png(20_000, 20_000)), (413, "too_large")),
    "bomb of 100 megapixels": (image(flat_png(10_000, 10_000)), (413, "too_large")),
    "bomb of 16.7 megapixels": (image(flat_png(4096, 4096)), (413, "image_decompression_bomb")),
    "many megapixels in all": ({"inputs": [to_text(flat_png(4000, 4000))] * 4}, (413, "too_large")),
    "animated GIF": (image(animation("GIF")), (422, "image_undecodable")),
    "animated WebP": (image(animation("WEBP")), (422, "image_several_frames")),
    "two pages": (image(animation("TIFF")), (422, "image_several_frames")),
    "bilevel": (image(encode(SCENE, mode="1")), (422, "image_bilevel")),
    "16 bits as RGB": (image(encode(INFRARED)), (422, "image_undeclared_range")),
    "NaN in infrared": (infrared(with_hole(math.nan)), (422, "image_not_finite")),
    "infinity in infrared": (infrared(with_hole(math.inf)), (422, "image_not_finite")),
    "everything is nodata": (
        infrared(encode(np.full((32, 32), 5000, np.uint16)), nodata=5000),
        (422, "image_mostly_nodata"),
    ),
    "colour as infrared": (infrared(encode(SCENE)), (422, "image_colour_infrared")),
    "pair of two sizes": (
        {"inputs": {"image": to_text(encode(make_scene(48, 80))), "infrared": infrared_text()}},
        (422, "image_geometry"),
    ),
    "text as nodata": (infrared(encode(INFRARED), nodata="none"), (422, "bad_parameter")),
    "boolean as nodata": (infrared(encode(INFRARED), nodata=True), (422, "bad_parameter")),
    "huge nodata": (infrared(encode(INFRARED), nodata=10**400), (422, "bad_parameter")),
    "scaling as text": (infrared(encode(INFRARED), infrared_scaling="window"), MALFORMED),
    "unknown scaling": (infrared(encode(INFRARED), infrared_scaling={"rule": "stretch"}), (422, "bad_parameter")),
    "scaling without limits": (infrared(encode(INFRARED), infrared_scaling={"rule": "window"}), (422, "bad_parameter")),
    "scaling upside down": (
        infrared(encode(INFRARED), infrared_scaling={"rule": "window", "low": 9, "high": 1}),
        (422, "bad_parameter"),
    ),
    "unknown polarity": (infrared(encode(INFRARED), polarity="hot"), (422, "bad_parameter")),
    "URL": ({"inputs": {"image": {"url": "https://example.com/a.png"}}}, (403, "url_not_allowed")),
    "private URL": ({"inputs": {"image": {"url": "http://169.254.169.254/"}}}, (403, "url_not_allowed")),
    "URL with more": ({"inputs": {"image": {"url": "https://example.com", "headers": {}}}}, MALFORMED),
    "number as URL": ({"inputs": {"image": {"url": 5}}}, MALFORMED),
    "captioner's parameter": (parameters(max_new_tokens=5), MALFORMED),
}
# What is sent as bytes.
BODIES: dict[str, tuple[bytes, Expected]] = {
    "nothing": (b"", (400, "bad_json")),
    "no JSON": (b"inputs=5", (400, "bad_json")),
    "half a JSON": (b'{"inputs": "', (400, "bad_json")),
    "NaN": (b'{"inputs": NaN}', (400, "bad_json")),
    "infinity": (b'{"inputs": {"infrared": "a"}, "parameters": {"nodata": Infinity}}', (400, "bad_json")),
    "not UTF-8": (b'{"inputs": "\xff\xfe"}', (400, "bad_json")),
    "deep nest": (b"[" * 100_000 + b"]" * 100_000, (400, "bad_json")),
    "long number": (b'{"inputs": ' + b"9" * 100_000 + b"}", (400, "bad_json")),
    "an image itself": (encode(SCENE, "JPEG"), (400, "bad_json")),
    "oversized": (b'{"inputs": "' + b"A" * 20_000_001 + b'"}', (413, "too_large")),
}


def bodies() -> dict[str, tuple[bytes, Expected]]:
    """Everything, as bytes."""
    return {name: (json.dumps(sent).encode(), wanted) for name, (sent, wanted) in OBJECTS.items()} | BODIES
