"""Writes infrared-aware captions for rows that have none; what the filters refuse is kept aside with its reason."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from PIL import Image

from ..engine import Result, Task
from ..ordered_parquet import write_ordered
from ..stages.image_facts import upright
from ..stages.infrared_caption_filters import filter_infrared_captions
from ..stages.infrared_caption_rules import write_infrared_captions
from ..stages.rejects import Reject
from ..step import ShardCount, shard_result
from .model_identity import model_identity, require_model
from .staged_rows import STAGED_ROW_GROUP_ROWS, joined_rows

CAPTION_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("infrared_captions", pa.list_(pa.string())),
        ("rejected_caption", pa.string()),
        ("rejected_reason", pa.string()),
    ]
)
_VERSION = 1
_COLUMNS = ("id", "infrared", "captions")

Writer = Callable[[list[Image.Image], list[str], list[str]], tuple[list[Any], list[Reject]]]


@dataclass(frozen=True, kw_only=True)
class InfraredCaptionConfig:
    """How rows without infrared-aware captions get one."""

    writer: Literal["none", "rules", "model"] = "rules"
    """`rules`: from measured statistics of the infrared image. `model`: by a vision-language model, then filtered.
    `none`: rows keep an empty list."""
    model: str | None = None
    """Folder or Hub id of the vision-language model."""
    revision: str | None = None
    """Full commit of a Hub id."""
    plain_template: str | None = None
    """For models without a chat template: the text around `{prompt}`, such as `USER: <image>\n{prompt} ASSISTANT:`."""
    temperature: float = 0.2
    max_new_tokens: int = 180
    seed: int = 0
    device: str = "cpu"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        """Refuse a model without its name, and a name that is not used."""
        if (self.writer == "model") != (self.model is not None):
            raise ValueError(f"writer is {self.writer!r} and model is {self.model!r}; a model goes with writer=model.")

    def model_settings(self) -> Any:
        """The settings of the model; not for the other writers.

        Raises:
            ValueError: the model is not there, or a value cannot work.
        """
        require_model("--infrared-captions.model", self.model, self.revision)
        # A model means torch and transformers; the rules need neither.
        from ..stages.infrared_caption_model import InfraredCaptionModelSettings

        return InfraredCaptionModelSettings(**{name: value for name, value in asdict(self).items() if name != "writer"})


@dataclass(frozen=True, kw_only=True)
class InfraredCaptionStep:
    """Staged rows in, their infrared captions out."""

    work: Path
    config: InfraredCaptionConfig
    name: str = "infrared_captions"

    @property
    def on_gpu(self) -> bool:
        """A writer with a model may hold a GPU."""
        return self.config.writer == "model"

    def identity(self) -> dict[str, Any]:
        """Settings that decide the content."""
        weights = model_identity(self.config.model) if self.config.model else None
        return {"version": _VERSION, **asdict(self.config), "weights": weights}

    def open(self) -> Callable[[Task], Result]:
        """Load the model if there is one, and return the function that writes the captions of a shard."""
        writer = write_infrared_captions if self.config.writer == "rules" else _open_model_writer(self.config)
        return lambda task: _caption_shard(self, writer, task)


def _caption_shard(step: InfraredCaptionStep, writer: Writer, task: Task) -> Result:
    inputs = task["inputs"]
    count = ShardCount(rows_in=len(inputs["rows"]))
    path = step.work / step.name / f"{task['shard']}.parquet"
    write_ordered(
        path,
        _captioned_rows(step, writer, inputs, count),
        CAPTION_SCHEMA,
        order_by="position",
        row_group_rows=len(inputs["rows"]),
    )
    captioned = count.rows_in - count.rejected.total()
    return {"shard": task["shard"], **shard_result(path, step.work, captioned, count.facts())}


def _captioned_rows(
    step: InfraredCaptionStep, writer: Writer, inputs: Mapping[str, Any], count: ShardCount
) -> Iterator[dict[str, Any]]:
    positions = inputs["rows"]
    rows = zip(positions, joined_rows(step.work, inputs["files"], positions, _COLUMNS), strict=True)
    while batch := list(islice(rows, STAGED_ROW_GROUP_ROWS)):
        yield from _captioned_batch(writer, batch, count)


def _captioned_batch(
    writer: Writer, batch: list[tuple[int, dict[str, Any]]], count: ShardCount
) -> Iterator[dict[str, Any]]:
    """Write a caption for each row from its first scene caption, or from the first of the others that will do."""
    waiting = [(position, row, _image(row["infrared"])) for position, row in batch]
    refused: dict[int, Reject] = {}
    for attempt in range(max(len(row["captions"]) for _, row in batch)):
        waiting = [item for item in waiting if attempt < len(item[1]["captions"])]
        scenes = [row["captions"][attempt] for _, row, _ in waiting]
        written, rejects = writer([image for *_, image in waiting], scenes, [row["id"] for _, row, _ in waiting])
        for made in written:
            yield {"position": waiting[made.row][0], "infrared_captions": [made.caption]}
            refused.pop(waiting[made.row][0], None)
        for reject in rejects:
            refused.setdefault(waiting[reject.row][0], reject)
        waiting = [waiting[row] for row in sorted(reject.row for reject in rejects)]
        if not waiting:
            break
    ids = {position: row["id"] for position, row in batch}
    for position, reject in sorted(refused.items()):
        count.reject(ids[position], reject.reason, reject.detail)
        yield {
            "position": position,
            "infrared_captions": [],
            "rejected_caption": reject.detail,
            "rejected_reason": reject.reason,
        }


def _open_model_writer(config: InfraredCaptionConfig) -> Writer:
    """A model's captions, and then the filters."""
    from ..stages.infrared_caption_model import InfraredCaptionModel, caption_infrared_images

    model = InfraredCaptionModel(config.model_settings())

    def write(images: list[Image.Image], scenes: list[str], ids: list[str]) -> tuple[list[Any], list[Reject]]:
        made, unmade = caption_infrared_images(model, images, scenes, ids)
        kept, refused = filter_infrared_captions([one.caption for one in made], [scenes[one.row] for one in made])
        rejects = [Reject(made[reject.row].row, reject.reason, reject.detail) for reject in refused]
        return [replace(one, row=made[one.row].row) for one in kept], [*unmade, *rejects]

    return write


def _image(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return upright(image)
