"""Benchmark `captions`: a captioner reads RGB, infrared and the pair, and its captions are held against the rows."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..cases import Cases, Outcome
from ..intervals.cluster_bootstrap import Outcomes, mean_score, with_intervals
from ..predictions import Predictions
from ..results import Metric, dataset_record, weights_sha256
from ..rows import load_split
from ..score import write_files
from ..text_runs import listing_of
from .audit import finding_scores
from .generation import INFRARED_PROMPT, SCENE_PROMPT, Caption, caption, facts, load_captioner
from .metrics import caption_outcomes
from .references import References

ASKED = {SCENE_PROMPT: "captions", INFRARED_PROMPT: "infrared_captions"}


@dataclass(frozen=True, kw_only=True)
class CaptionsRun:
    """What to caption with what."""

    model: str
    data: Path
    split: str
    rows: int
    """Rows from the start of the split."""
    device: str = "cpu"
    revision: str | None = None
    batch_size: int = 32


def evaluate_captions(output: Path, run: CaptionsRun, config: dict[str, Any]) -> list[Metric]:
    """Captions the first rows of a split in every way the captioner reads them, scores, writes.

    The captions go beside the results as `.jsonl`, what each row adds as `.cases.npz`.
    """
    folder, captioner, processor = load_captioner(run.model, run.revision, run.device, "captions")
    rows = load_split(str(run.data), run.split)
    rows = rows.select(range(min(run.rows, len(rows))))
    said, found, absent = list[Caption](), list[Outcomes](), set[str]()
    for shown in ("rgb", "infrared", "pair"):
        for instruction in ASKED:
            captions = caption(captioner, processor, rows, shown, instruction, run.batch_size)
            more, lacking = outcomes_of(rows, captions, shown, instruction)
            said, found, absent = said + captions, found + more, absent | lacking
    metrics = [metric for outcomes in found for metric in with_intervals(outcomes)]
    listing = listing_of([references_of(rows, name) for name in ASKED.values()])
    write_files(
        output,
        Outcome(metrics=metrics, cases=Cases(texts=tuple(found)), notes={"nothing_to_compare_with": sorted(absent)}),
        benchmark="captions",
        protocol="captions",
        model={"id": run.model, "weights_sha256": weights_sha256(folder)},
        dataset=dataset_record(run.data, listing),
        config=config,
    )
    output.with_suffix(".jsonl").write_text("".join(json.dumps(vars(one)) + "\n" for one in said))
    return metrics


def outcomes_of(
    rows: Dataset, captions: list[Caption], shown: str, instruction: str
) -> tuple[list[Outcomes], set[str]]:
    """The captions of one instruction against the references of that kind, the fact that it asks for, and the audit.

    Metrics are called `SHOWN/NAME`, those of infrared captions `SHOWN/infrared_captions/NAME`. Also returns what the
    rows do not state, so that no metric of it can be.
    """
    column, absent, found = ASKED[instruction], set[str](), list[Outcomes]()
    prefix = f"{shown}/" if column == "captions" else f"{shown}/{column}/"
    references = references_of(rows, column)
    if any(text.strip() for texts in references.texts for text in texts):
        overlap = caption_outcomes(
            references, Predictions(texts=tuple(one.text for one in captions), missing=0, failed=0)
        )
        scores = tuple(replace(score, name=prefix + score.name) for score in overlap.scores)
        found.append(replace(overlap, keys=case_keys(overlap.keys, shown, instruction), scores=scores))
    else:
        absent.add(column)
    keys = case_keys(references.ids, shown, instruction)
    audit = [replace(score, name=prefix + score.name) for score in finding_scores([one.text for one in captions])]
    found.append(Outcomes(keys=keys, clusters=references.images, scores=tuple(audit)))
    fact = "class_named" if column == "captions" else "time_right"
    right = facts(rows, captions)[fact]
    if any(value is not None for value in right):
        values, stated = [bool(value) for value in right], [value is not None for value in right]
        score = mean_score(f"{shown}/{fact}", values, stated)
        found.append(Outcomes(keys=keys, clusters=references.images, scores=(score,)))
    else:
        absent.add(fact)
    return found, absent


def case_keys(ids: tuple[str, ...], shown: str, instruction: str) -> tuple[str, ...]:
    """A case is a row, what was shown of it, and the instruction."""
    return tuple(f"{row} | {shown} | {instruction}" for row in ids)


def references_of(rows: Dataset, column: str) -> References:
    """The captions of a column; each row is an image of its own."""
    ids, texts = tuple(rows["id"]), tuple(tuple(found or ()) for found in rows[column])
    return References(ids=ids, images=ids, sources=("",) * len(ids), texts=texts)
