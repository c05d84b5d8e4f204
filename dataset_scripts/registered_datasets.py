"""Lets `load_dataset("fusionrs")` and `load_dataset("rs5m")` find built folders from any working directory.

`datasets` has no public place for this. An entry in its dictionary of packaged builders is not enough: it would search
the working directory for data first, and fail where there is none. So the one function that takes a name to its files,
`datasets.load.dataset_module_factory`, is given the folder in place of the name; datasets' own rules do all the rest.
"""

import dataclasses
import functools
import hashlib
import importlib.machinery
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

NAMES = ("fusionrs", "rs5m")
PLACE_VARIABLE = "RSCLIP_DATASETS"
SUPPORTED_DATASETS = ">=5.2,<6"

_MODULE = "datasets.load"
_FUNCTION = "dataset_module_factory"
_MANIFEST = "manifest.json"
# What is used of datasets' internals: parameters of the function, and fields of what it returns.
_PARAMETERS = {"path", "revision", "data_dir", "data_files"}
_FIELDS = {"hash", "builder_kwargs"}

logger = logging.getLogger(__name__)


def register() -> None:
    """Make the names known to `datasets`: now where it is imported already, else as soon as it is.

    Importing `datasets` here would cost every worker process of a build half a second.
    """
    loaded = sys.modules.get(_MODULE)
    if loaded is not None:
        _give_names_to(loaded)
    elif not any(isinstance(finder, _OnImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OnImport())


def find_folder(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of a built dataset.

    Args:
        name: `fusionrs` or `rs5m`.
        data_dir: the folder itself. Where not given: NAME in the folder that the environment variable RSCLIP_DATASETS
            names; where that is not set, NAME in the working directory.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if data_dir is not None:
        folder, place = Path(data_dir), f"data_dir is {str(data_dir)!r}"
    elif os.environ.get(PLACE_VARIABLE):
        folder = Path(os.environ[PLACE_VARIABLE], name)
        place = f"the environment variable {PLACE_VARIABLE} is {os.environ[PLACE_VARIABLE]!r}"
    else:
        folder, place = Path(name), f"neither data_dir nor the environment variable {PLACE_VARIABLE} is given"
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"dataset {name!r} is not at {folder}: {place}. Give data_dir=FOLDER, or set {PLACE_VARIABLE} to the "
            f"folder that holds {name}/, or run where ./{name} is; from the Hub, load ORG/{name}. "
            f"`python -m dataset_scripts build {name}` builds it."
        )
    return folder


def content_of(name: str, folder: Path) -> str:
    """Return a hash of the content of a built folder, after a look that the build is finished and all shards are there.

    Only sizes of shards are looked at, so this is quick for any number of rows.
    """
    path = folder / _MANIFEST
    if not path.is_file():
        inner = f" It holds {name}/: is that the folder?" if (folder / name / _MANIFEST).is_file() else ""
        raise FileNotFoundError(
            f"{folder} holds no {_MANIFEST}, so it is no finished build of {name!r}: run `python -m dataset_scripts "
            f"build {name}` with the same settings again, and it goes on where it stopped.{inner}"
        )
    manifest = _read_manifest(path)
    if manifest["dataset"] != name:
        raise ValueError(f"{folder} holds {manifest['dataset']!r}, not {name!r}; load it by that name.")
    for shard in manifest["shards"]:
        _check_shard(folder / shard["file"], shard["bytes"])
    shards = [[shard["file"], shard["sha256"]] for shard in manifest["shards"]]
    return hashlib.sha256(json.dumps([name, shards]).encode()).hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        shards = [(str(shard["file"]), str(shard["sha256"]), int(shard["bytes"])) for shard in manifest["shards"]]
        known = isinstance(manifest["dataset"], str) and bool(shards)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a manifest of this program: {type(error).__name__}: {error}.") from error
    if not known:
        raise ValueError(f"{path} is not a manifest of this program: it names no dataset, or no shard.")
    return manifest


def _check_shard(path: Path, size: int) -> None:
    found = path.stat().st_size if path.is_file() else None
    if found != size:
        what = "is missing" if found is None else f"has {found} bytes, not {size}"
        raise FileNotFoundError(f"{path} {what}: the folder was not copied whole, or changed after it was built.")


class _OnImport(MetaPathFinder):
    """Finds `datasets.load` as Python does, and gives it the names once it has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return nothing for every other module."""
        if fullname != _MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_give_names(module: ModuleType) -> None:
            run(module)
            sys.meta_path.remove(self)
            _give_names_to(module)

        spec.loader.exec_module = run_and_give_names  # type: ignore[method-assign]
        return spec


def _give_names_to(load: ModuleType) -> None:
    """Replace the function in `datasets.load`, and where it was imported from there."""
    factory: Any = getattr(load, _FUNCTION, None)
    if getattr(factory, "func", None) is _module_of:
        return
    if not _is_as_expected(factory, getattr(load, "DatasetModule", None)):
        version = getattr(sys.modules.get("datasets"), "__version__", "of unknown version")
        logger.warning(
            "load_dataset(%s) finds a built folder by its name with datasets %s; datasets %s is different inside. "
            "Give the path of the folder in place of the name.",
            " or ".join(map(repr, NAMES)),
            SUPPORTED_DATASETS,
            version,
        )
        return
    named = functools.partial(_module_of, factory)
    for module in (load, sys.modules.get("datasets.inspect")):
        if getattr(module, _FUNCTION, None) is factory:
            setattr(module, _FUNCTION, named)


def _is_as_expected(factory: Any, module_class: Any) -> bool:
    return (
        callable(factory)
        and set(inspect.signature(factory).parameters) >= _PARAMETERS
        and dataclasses.is_dataclass(module_class)
        and {field.name for field in dataclasses.fields(module_class)} >= _FIELDS
    )


def _module_of(factory: Callable[..., Any], path: str, *args: Any, **kwargs: Any) -> Any:
    """What `datasets` needs to know to load a path; for our names, that of the built folder."""
    if path not in NAMES:
        return factory(path, *args, **kwargs)
    given = inspect.signature(factory).bind(path, *args, **kwargs)
    if given.arguments.get("revision") is not None:
        raise ValueError(f"a folder on this machine has no revision; from the Hub, load ORG/{path}.")
    folder = find_folder(path, given.arguments.get("data_dir"))
    content = content_of(path, folder)
    given.arguments.update(path=folder.as_posix(), data_dir=None)
    module = factory(*given.args, **given.kwargs)
    # `datasets` caches by name and this hash, and does not look at the files.
    return dataclasses.replace(
        module,
        hash=hashlib.sha256(f"{module.hash} {content}".encode()).hexdigest()[:16],
        builder_kwargs={**module.builder_kwargs, "dataset_name": path, "data_dir": None},
    )
