"""Classification sets as folders of images, one folder a class: AID, NWPU-RESISC45, EuroSAT, or any other."""

from dataclasses import dataclass
from pathlib import Path

from .classification.class_names import CLASS_SETS, ClassSet, class_text

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Images in the order of their paths, the class name of each, all names, and how many files were no images."""

    ids: list[str]
    paths: list[Path]
    labels: list[str]
    names: list[str]
    ignored_files: int


def read_image_folder(root: Path, classes: str) -> ImageFolder:
    """Lists a set.

    Args:
        root: The folder that holds the class folders.
        classes: A name in `CLASS_SETS`, or `folders` for the folders' own names.

    Raises:
        ValueError: A folder is no class, a class has no folder, or a folder no images.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder; wanted one that holds a folder of images per class.")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise ValueError(f"{root} holds no folders; wanted one per class.")
    if classes != "folders" and classes not in CLASS_SETS:
        raise ValueError(f"classes is {classes!r}, wanted folders, {', '.join(sorted(CLASS_SETS))}.")
    named = _own_names(folders) if classes == "folders" else _pinned_names(folders, CLASS_SETS[classes], root, classes)
    ids, paths, labels, ignored = list[str](), list[Path](), list[str](), 0
    for folder in folders:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        images = [path for path in files if path.suffix.lower() in SUFFIXES]
        if not images:
            raise ValueError(f"{folder} holds no images ({', '.join(SUFFIXES)}).")
        ignored += len(files) - len(images)
        ids += [path.relative_to(root).as_posix() for path in images]
        paths += images
        labels += [named[folder.name]] * len(images)
    names = list(dict.fromkeys(named[folder.name] for folder in folders))
    if classes != "folders":
        names = list(CLASS_SETS[classes].names)
    return ImageFolder(ids=ids, paths=paths, labels=labels, names=names, ignored_files=ignored)


def _own_names(folders: list[Path]) -> dict[str, str]:
    named = {folder.name: class_text(folder.name) for folder in folders}
    if len(set(named.values())) < len(named):
        raise ValueError(f"two folders have one class name: {sorted(named)}.")
    return named


def _pinned_names(folders: list[Path], pinned: ClassSet, root: Path, classes: str) -> dict[str, str]:
    named = {folder.name: pinned.names[pinned.index_of(folder.name)] for folder in folders}
    lost = [name for name in pinned.names if name not in named.values()]
    if lost:
        raise ValueError(
            f"{root} lacks {len(lost)} of the {len(pinned.names)} classes of {classes}, such as {lost[0]!r}. Complete "
            "the set, or pass --classes folders for the classes that are there."
        )
    return named
