"""What may be in a published folder: safetensors, images and text; no pickle, token, or path of this machine.

A file is what its bytes say, not its name: each must be read as one of the forms that its suffix stands for.
"""

import ast
import json
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError, safe_open

from dataset_scripts.checking.shard_rights import text_problems

from .publish_fault import Fault

WEIGHTS, IMAGES = (".safetensors",), {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
# What Python leaves where code was loaded; it is never copied.
PYTHON_CACHE = "__pycache__"
TEXTS = (".json", ".py", ".md", ".txt", ".yaml", ".yml", ".jinja", ".css", ".html")
# Beside those of `text_problems`: keys of Amazon, OpenAI, Google and Slack, and passwords in addresses.
_MORE_SECRETS = re.compile(
    r"aws_secret_access_key\W{1,5}[A-Za-z0-9/+]{40}|\bsk-[A-Za-z0-9_-]{32,}|\bAIza[A-Za-z0-9_-]{35}|"
    r"\bxox[abprs]-[A-Za-z0-9-]{10,}|\bhttps?://[^\s/:@]+:[^\s/@]+@",
    re.IGNORECASE,
)
# The words of a tokenizer are of others' texts, and many look like paths.
_VOCABULARY_KEYS = {"vocab", "merges", "added_tokens"}
_VOCABULARY_FILES = {"vocab.json", "vocab.txt", "merges.txt"}
# Operations with which a pickle runs code or names it.
_RUNS_CODE = {"GLOBAL", "STACK_GLOBAL", "INST", "REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX"}


def file_faults(folder: Path) -> list[Fault]:
    """Find every file that must not go up as it is."""
    found: list[Fault] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if PYTHON_CACHE in path.relative_to(folder).parts:
            continue
        found += _said(name, name)
        if path.is_symlink():
            found.append(Fault(name, "link", "a link to elsewhere; put the file itself there"))
        elif path.is_file():
            found += _faults_of(path, name)
    return found


def _faults_of(path: Path, name: str) -> Iterator[Fault]:
    if pickled := _pickle_in(path):
        yield Fault(name, "pickle", f"{pickled}; loading it can run any code. Save safetensors")
        return
    suffix = path.suffix.lower()
    if suffix in WEIGHTS:
        yield from _weights_faults(path, name)
    elif suffix in IMAGES:
        yield from _image_faults(path, name, IMAGES[suffix])
    elif suffix in TEXTS or path.name == ".gitattributes":
        yield from _text_faults(path, name)
    else:
        known = ", ".join([*WEIGHTS, *IMAGES, *TEXTS])
        yield Fault(name, "form", f"files of the form {suffix or 'without a suffix'} are not published; known: {known}")


def _pickle_in(path: Path) -> str | None:
    """What kind of pickle a file is, whatever it is called."""
    with path.open("rb") as file:
        start = file.read(16)
    if start[:1] == b"\x80" and start[1:2] in b"\x01\x02\x03\x04\x05" and len(start) > 1:
        return f"its first bytes are those of a pickle of protocol {start[1]}"
    if start[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            inner = [member for member in archive.namelist() if member.endswith((".pkl", ".pickle"))]
        return f"it is a PyTorch archive with {inner[0]}" if inner else None
    if path.suffix.lower() in (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz"):
        return f"{path.suffix} files hold, or may hold, a pickle"
    is_old = path.suffix.lower() not in WEIGHTS and _runs_as_pickle(path.read_bytes())
    return "it reads as a pickle of protocol 0" if is_old else None


def _runs_as_pickle(data: bytes) -> bool:
    """Whether bytes are a whole pickle that calls something; protocols 0 and 1 have no mark of their own."""
    names = set()
    try:
        for operation, _, _ in pickletools.genops(data):
            names.add(operation.name)
    except ValueError:  # no pickle, or one that ends in the middle
        return False
    return bool(names & _RUNS_CODE)


def _weights_faults(path: Path, name: str) -> Iterator[Fault]:
    try:
        with safe_open(path, framework="numpy") as file:
            said = json.dumps([file.metadata(), *file.keys()])
    except SafetensorError as error:
        yield Fault(name, "form", f"no safetensors file: {error}")
        return
    yield from _said(name, said)


def _image_faults(path: Path, name: str, form: str) -> Iterator[Fault]:
    try:
        with Image.open(path, formats=[form]) as image:
            extra = {str(key): value for key, value in image.info.items() if isinstance(value, str | bytes)}
            image.load()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        yield Fault(name, "form", f"no whole {form} image: {error}")
        return
    extra = {key: value for key, value in extra.items() if key not in ("jfif", "icc_profile", "dpi", "gamma")}
    if extra:
        yield Fault(
            name, "metadata", f"the image carries {', '.join(sorted(extra))} beside its pixels; save it without"
        )


def _text_faults(path: Path, name: str) -> Iterator[Fault]:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        yield Fault(name, "form", f"no UTF-8 text: {error.reason} at byte {error.start}")
        return
    suffix = path.suffix.lower()
    try:
        parsed = json.loads(text) if suffix == ".json" else None
        if suffix in (".yaml", ".yml"):
            yaml.safe_load(text)
        if suffix == ".py":
            ast.parse(text)
    except (ValueError, SyntaxError, yaml.YAMLError) as error:
        yield Fault(name, "form", f"no {suffix[1:]} file: {error}".replace("\n", " "))
        return
    if path.name in _VOCABULARY_FILES:
        return
    if parsed is not None and path.name == "tokenizer.json":
        text = json.dumps(_without_vocabulary(parsed), ensure_ascii=False, indent=1)
    for number, line in enumerate(text.splitlines(), start=1):
        yield from _said(f"{name}:{number}", line)


def _said(place: str, line: str) -> Iterator[Fault]:
    """Tokens and paths in a line; a token is not repeated."""
    for problem in text_problems(place, line):
        yield Fault(place, problem.kind, problem.detail)
    for match in _MORE_SECRETS.finditer(line):
        yield Fault(place, "secret", f"{match.group()[:6]}..., {len(match.group())} characters")


def _without_vocabulary(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_vocabulary(one) for key, one in value.items() if key not in _VOCABULARY_KEYS}
    return [_without_vocabulary(one) for one in value] if isinstance(value, list) else value
