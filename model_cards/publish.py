"""Publishes a model, a dataset or a Space on the Hugging Face Hub: assembles, checks, shows, and sends with --push.

python -m model_cards.publish model runs/clip --repo ORG/rsclip-vit-b-32 --license cc-by-4.0 --results results/a.json
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from huggingface_hub import HfApi

from dataset_scripts.publishing.destination import MAIN, Destination, check_names, check_pull_request, is_repository
from dataset_scripts.publishing.hub_errors import HubError
from dataset_scripts.publishing.hub_push import bring, print_files
from dataset_scripts.push import PushConfig, UnfitFolderError, push

from .card_model import License
from .card_training import Energy
from .publish_fault import UnfitError
from .publish_model import ModelAccount, assemble_model
from .publish_space import space_files


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to publish. The access token is that of HF_TOKEN or of `hf auth login`."""

    repo: str
    """Repository, ORG/NAME; it is made if it is not there."""
    push: bool = False
    """Send it; without this everything is checked and shown, and the Hub is asked for nothing."""
    tag: str | None = None
    """Name for this version, such as v1.0.0."""
    revision: str = MAIN
    """Branch; it is made from main if it is not there."""
    private: bool = False
    """Make the repository private."""
    overwrite_remote: bool = False
    """Delete what an earlier version left there, and replace files of a repository that has no manifest."""
    pull_request: bool = False
    """Open a pull request, and change nothing on main: for a review, or where you may not write."""

    def __post_init__(self) -> None:
        """Refuse names that cannot work, and what excludes each other."""
        check_names(self.repo, self.revision, self.tag)
        if self.pull_request:
            check_pull_request(self.revision, self.tag, private=self.private)


@dataclass(frozen=True, kw_only=True)
class PublishModel(Target):
    """Publish a model: weights, code, handler, pipelines, examples, results and a card."""

    path: Annotated[Path, tyro.conf.Positional]
    """Folder of a run (run.json and model/), or one that `save_pretrained` wrote."""
    license: str
    """Licence of the weights: an identifier of the Hub, such as apache-2.0 or cc-by-nc-4.0, or other."""
    license_name: str | None = None
    """Name of a licence that is `other`."""
    license_link: str | None = None
    """Address of its text."""
    title: str | None = None
    """Title of the card; NAME when not given."""
    base_model: tuple[str, ...] = ()
    """Names on the Hub of what the model started from; read from run.json when not given."""
    from_scratch: bool = False
    """The weights started from random numbers."""
    datasets: tuple[str, ...] = ()
    """Names on the Hub of the training data; read from run.json when not given."""
    data_manifest: tuple[Path, ...] = ()
    """manifest.json of the training data: its sources and licences go on the card."""
    results: tuple[Path, ...] = ()
    """Results JSON of `python -m evaluation`; they must be of these weights."""
    results_datasets: tuple[str, ...] = ()
    """ID=ORG/NAME: what the data of a result is called on the Hub; such results go into .eval_results/ too."""
    about: Path | None = None
    """Markdown for the card. A number in it must be in the results or in run.json."""
    watts: float | None = None
    """Mean power that the training hardware drew: for an estimate of the energy."""
    grams_per_kwh: float | None = None
    """Carbon dioxide of the electricity; with --watts, for an estimate of the emissions."""
    rgb: Path | None = None
    """RGB image of the examples; a simulated scene when not given."""
    infrared: Path | None = None
    """Infrared image of the examples."""
    images_license: str | None = None
    """Licence of the two images."""
    output: Path | None = None
    """Folder to assemble it in, kept for you to look at; a temporary one when not given."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        super().__post_init__()
        named = (self.license_name is not None, self.license_link is not None)
        if named != ((self.license == "other",) * 2):
            raise ValueError("--license other needs --license-name and --license-link, and no other licence has them.")
        for option, names in (("base-model", self.base_model), ("datasets", self.datasets)):
            if local := [name for name in names if not is_repository(name)]:
                raise ValueError(f"--{option} is {local[0]!r}; it must be a name on the Hub, ORG/NAME.")
        if self.grams_per_kwh is not None and self.watts is None:
            raise ValueError("--grams-per-kwh needs --watts; without the power there is no energy to multiply.")
        wrong = [text for text in self.results_datasets if not is_repository(text.partition("=")[2])]
        if wrong:
            raise ValueError(f"--results-datasets is {wrong[0]!r}; it must be ID=ORG/NAME.")

    def account(self) -> ModelAccount:
        """What the publisher says of the model."""
        return ModelAccount(
            repo=self.repo,
            license=License(name=self.license, title=self.license_name, link=self.license_link),
            tag=self.tag,
            title=self.title,
            base_models=self.base_model,
            from_scratch=self.from_scratch,
            datasets=self.datasets,
            manifests=self.data_manifest,
            results=self.results,
            results_datasets=dict(text.split("=", 1) for text in self.results_datasets),
            about=self.about,
            energy=None if self.watts is None else Energy(watts=self.watts, grams_per_kilowatt_hour=self.grams_per_kwh),
            rgb=self.rgb,
            infrared=self.infrared,
            images_license=self.images_license,
        )


@dataclass(frozen=True, kw_only=True)
class PublishDataset(Target):
    """Publish what may be published of a built dataset; the same as `python -m dataset_scripts push`."""

    path: Annotated[Path, tyro.conf.Positional]
    """Folder that `python -m dataset_scripts build` wrote."""
    workers: int = os.cpu_count() or 1
    """Shards that are checked at a time."""


@dataclass(frozen=True, kw_only=True)
class PublishSpace(Target):
    """Publish a demo."""

    path: Annotated[Path, tyro.conf.Positional]
    """Folder of the Space: README.md with its settings, app.py, requirements.txt."""


Publication = PublishModel | PublishDataset | PublishSpace


def publish(what: Publication, api: HfApi | None = None) -> str | None:
    """Check, show and, where asked, send; return the commit, or None where nothing was sent.

    Raises:
        UnfitError: A model or Space must not be published as it is.
        UnfitFolderError: A dataset must not be.
        HubError: The Hub did not do what was asked; the branch is as it was, or complete.
    """
    match what:
        case PublishModel():
            if (commit := _publish_model(what, api)) is not None:
                return commit
        case PublishSpace():
            files, sdk = space_files(what.path, repo=what.repo)
            print_files(what.repo, files)
            to = _destination(what, "space", sdk)
            if what.push:
                return bring(api or HfApi(), to, files, message=_message(what))
        case PublishDataset():
            if (commit := _publish_dataset(what, api)) is not None:
                return commit
    print(f"nothing was sent; add --push to publish {what.repo}", file=sys.stderr)
    return None


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    kinds: dict[str, Callable[..., Publication]] = {
        "model": PublishModel,
        "dataset": PublishDataset,
        "space": PublishSpace,
    }
    try:
        what = tyro.extras.subcommand_cli_from_dict(
            kinds, prog="python -m model_cards.publish", args=argv, description=__doc__
        )
        publish(what)
    except (UnfitError, UnfitFolderError, HubError) as error:
        raise SystemExit(str(error)) from error
    except (ValueError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error


def _publish_model(what: PublishModel, api: HfApi | None) -> str | None:
    temporary = Path(tempfile.mkdtemp()) if what.output is None else None
    folder = what.output or (temporary or Path()) / what.repo.split("/")[1]
    try:
        files = assemble_model(what.path, what.account(), folder)
        print_files(what.repo, files)
        if what.output is not None:
            print(f"assembled in {what.output}: read {what.output / 'README.md'} before it is sent")
        if not what.push:
            return None
        return bring(api or HfApi(), _destination(what, "model"), files, message=_message(what))
    finally:
        if temporary is not None:
            shutil.rmtree(temporary)


def _publish_dataset(what: PublishDataset, api: HfApi | None) -> str | None:
    config = PushConfig(
        folder=what.path,
        repo=what.repo,
        private=what.private,
        revision=what.revision,
        tag=what.tag,
        dry_run=not what.push,
        overwrite_remote=what.overwrite_remote,
        pull_request=what.pull_request,
        workers=what.workers,
    )
    return push(config, api)


def _destination(what: PublishModel | PublishSpace, kind: str, sdk: str | None = None) -> Destination:
    return Destination(
        repo=what.repo,
        kind="model" if kind == "model" else "space",
        belongs=_belongs_to_model if kind == "model" else _belongs_to_space,
        leftovers="files of another version (weights, code or results) that would be taken for this one's",
        revision=what.revision,
        tag=what.tag,
        private=what.private,
        overwrite_remote=what.overwrite_remote,
        pull_request=what.pull_request,
        space_sdk=sdk,
    )


def _belongs_to_model(path: str) -> bool:
    """Weights that `from_pretrained` might prefer, code, and results of other weights."""
    is_weights = ".safetensors" in path or path.endswith((".bin", ".pt", ".bin.index.json"))
    return is_weights or path.endswith(".py") or path.startswith((".eval_results/", "results/"))


def _belongs_to_space(path: str) -> bool:
    return path.endswith(".py")


def _message(what: Target) -> str:
    return f"Publish {what.repo.split('/')[1]}{f' {what.tag}' if what.tag else ''}"


if __name__ == "__main__":
    main()
