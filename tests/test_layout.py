"""Who may import whom, and what transformers' loader of remote code can follow."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("modeling_rsclip", "processing", "dataset_scripts", "train", "evaluation", "model_cards", "benchmarks")
ALLOWED = {
    "modeling_rsclip": set(),
    "processing": set(),
    "dataset_scripts": set(),
    "evaluation": {"modeling_rsclip", "processing"},
    "train": {"modeling_rsclip", "processing", "evaluation"},
    "model_cards": {"modeling_rsclip", "processing", "evaluation", "dataset_scripts"},
    "benchmarks": set(PACKAGES),
}
# Rooms of `train`; its programs import all of them.
ROOMS = {
    "data": set(),
    "engine": {"data"},
    "clip": {"data", "engine"},
    "captioner": {"data", "engine", "clip"},
    "translator": {"data", "engine"},
}
UPLOADED = ("modeling_rsclip", "processing")
STANDARD_OR_LISTED = {"numpy", "PIL", "torch", "transformers", "safetensors", "huggingface_hub"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def uploaded_modules() -> list[Path]:
    return [path for package in UPLOADED for path in modules(package) if path.name != "__init__.py"]


def imports(path: Path) -> list[tuple[int, str, list[str], ast.stmt]]:
    """(level, module, names, node) of every import in a file, at any depth."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name, [], node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", [alias.name for alias in node.names], node))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_whom_they_may(package: str) -> None:
    for path in modules(package):
        for level, module, _, _ in imports(path):
            root = module.split(".")[0]
            if level == 0 and root in PACKAGES and root != package:
                assert root in ALLOWED[package], f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_train_import_only_whom_they_may_and_the_engine_knows_no_model(room: str) -> None:
    assert {path.name for path in (ROOT / "train").iterdir() if (path / "__init__.py").exists()} == set(ROOMS)
    for path in modules(f"train/{room}"):
        for level, module, _, _ in imports(path):
            assert level < 2 or module.split(".")[0] in ROOMS[room], f"{path.relative_to(ROOT)} imports {module}"
            assert room != "engine" or module != "modeling_rsclip", f"{path.relative_to(ROOT)} knows a model"


@pytest.mark.parametrize("path", uploaded_modules(), ids=lambda path: path.name)
def test_uploaded_files_import_siblings_and_listed_libraries_only(path: Path) -> None:
    siblings = {other.stem for other in path.parent.glob("*.py")}
    blocks = [block for block in ast.walk(ast.parse(path.read_text())) if isinstance(block, ast.Try)]
    guarded = {(node.lineno, node.col_offset) for block in blocks for node in ast.walk(block) if _is_import(node)}
    for level, module, names, node in imports(path):
        root = module.split(".")[0]
        assert level or root not in PACKAGES, (
            f"{path.name} imports {root} by its absolute name, which fails for every user"
        )
        if level:
            assert level == 1, f"{path.name} leaves its folder: {module}"
            assert module in siblings, f"{path.name} imports {names} from {module!r}, which is not uploaded"
        elif root not in STANDARD_OR_LISTED and root not in sys.stdlib_module_names:
            assert (node.lineno, node.col_offset) in guarded, (
                f"{path.name} needs {root}, which a user may not have; transformers would refuse to load it"
            )


@pytest.mark.parametrize("path", uploaded_modules(), ids=lambda path: path.name)
def test_no_line_of_text_reads_like_a_relative_import(path: Path) -> None:
    """transformers finds imports with a regular expression, in docstrings too."""
    siblings = {other.stem for other in path.parent.glob("*.py")}
    text = path.read_text()
    found = re.findall(r"^\s*import\s+\.(\S+)\s*$", text, flags=re.MULTILINE)
    found += re.findall(r"^\s*from\s+\.(\S+)\s+import", text, flags=re.MULTILINE)
    assert set(found) <= siblings


def test_uploaded_files_have_names_of_their_own() -> None:
    names = [path.name for path in uploaded_modules()]
    assert len(names) == len(set(names))
    assert all(re.search(r"_(rsclip|rscaptioner|rstranslator)\.py$", name) for name in names)


@pytest.mark.parametrize("path", uploaded_modules(), ids=lambda path: path.name)
def test_uploaded_files_run_nothing_of_the_system(path: Path) -> None:
    for _, module, _, _ in imports(path):
        assert module.split(".")[0] not in {"os", "subprocess", "socket", "urllib", "ctypes", "pickle"}, path.name
    calls = [node.func.id for node in ast.walk(ast.parse(path.read_text())) if _is_named_call(node)]
    assert not {"eval", "exec", "compile", "__import__"} & set(calls)


def _is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_named_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
