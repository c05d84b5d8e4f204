"""Whether the code beside the weights can be loaded by somebody who has transformers and not this repository."""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .publish_fault import Fault

# What a user of transformers with torch has.
LIBRARIES = {"numpy", "PIL", "torch", "transformers", "safetensors", "huggingface_hub"}
_MAPPED = ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json")


def code_faults(folder: Path) -> list[Fault]:
    """Find imports that fail elsewhere, and names in `auto_map` behind which there is no class."""
    found: list[Fault] = []
    for path in sorted(folder.glob("*.py")):
        found += import_faults(path, siblings={other.stem for other in folder.glob("*.py")}, libraries=LIBRARIES)
    for name in _MAPPED:
        if (folder / name).is_file():
            found += _map_faults(folder, name, json.loads((folder / name).read_text(encoding="utf-8")))
    return found


def import_faults(path: Path, *, siblings: set[str], libraries: set[str], flat: bool = True) -> Iterator[Fault]:
    """Find imports of what is not there.

    Args:
        path: a module.
        siblings: modules beside it.
        libraries: packages that may be imported.
        flat: whether siblings are imported relatively, as transformers' loader of remote code asks.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {id(node) for block in ast.walk(tree) if _is_guard(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        place = f"{path.name}:{node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.level:
            named = [node.module] if node.module else [alias.name for alias in node.names]
            for module in named:
                if node.level > 1 or module not in siblings or not node.module:
                    text = "." * node.level + (node.module or "")
                    yield Fault(place, "import", f"`from {text} import`: no module of that name lies beside it")
            continue
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        for root in sorted({module.split(".")[0] for module in modules}):
            is_there = root in libraries or root in sys.stdlib_module_names or (not flat and root in siblings)
            if not is_there and id(node) not in guarded:
                known = ", ".join(sorted(libraries))
                yield Fault(place, "import", f"{root!r} is not there for whoever loads this; known are {known}")


def _is_guard(node: ast.AST) -> bool:
    if not isinstance(node, ast.Try):
        return False
    caught = [name.id for handler in node.handlers for name in ast.walk(handler) if isinstance(name, ast.Name)]
    return bool({"ImportError", "ModuleNotFoundError"} & set(caught))


def _map_faults(folder: Path, name: str, value: Any) -> Iterator[Fault]:
    if not isinstance(value, dict):
        return
    for auto_class, target in _targets(value):
        if "--" in target:
            yield Fault(
                name, "auto_map", f"{auto_class} is {target!r}: code of another repository, at no fixed revision"
            )
            continue
        module, _, class_name = target.partition(".")
        path = folder / f"{module}.py"
        if not path.is_file() or f"class {class_name}(" not in path.read_text(encoding="utf-8"):
            yield Fault(name, "auto_map", f"{auto_class} is {target!r}, and there is no such class in {module}.py")
    for inner in value.values():
        if isinstance(inner, dict):
            yield from _map_faults(folder, name, inner)


def _targets(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for auto_class, target in value.get("auto_map", {}).items():
        for one in target if isinstance(target, list | tuple) else [target]:
            if one is not None:
                yield auto_class, one
    for task, about in value.get("custom_pipelines", {}).items():
        yield task, about["impl"]
