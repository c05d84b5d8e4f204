"""`eval.yaml` of a dataset: the tasks that scores in the `.eval_results/` of a model refer to.

The Hub shows a leaderboard only for frameworks and datasets on a list of its own; the file says what the tasks are
either way.
"""

from collections.abc import Mapping
from typing import Any

from huggingface_hub.utils import yaml_dump

BENCHMARK = "eval.yaml"
FRAMEWORK = "rsclip"
# Protocols of `python -m evaluation list` that read a built folder; the identifier of a task is that of its protocol.
TASKS = {"fusionrs": ("retrieval-fusionrs", "captions", "translation")}
_DESCRIPTIONS = {
    "fusionrs": "Retrieval, captioning and translation on pairs of an RGB and an infrared image. Splits never share "
    "near-duplicates or captions. Protocols: https://github.com/ORG/rsclip, `python -m evaluation list`.",
}


def benchmark_text(manifest: Mapping[str, Any]) -> str | None:
    """Return eval.yaml; None for a dataset without protocols of its own, or without a public test split."""
    dataset = manifest["dataset"]
    is_tested = any(shard["split"] == "test" and shard["file"].startswith("data/") for shard in manifest["shards"])
    if dataset not in TASKS or not is_tested:
        return None
    tasks = [{"id": task, "config": "default", "split": "test"} for task in TASKS[dataset]]
    text: str = yaml_dump(
        {
            "name": {"fusionrs": "FusionRS"}[dataset],
            "description": _DESCRIPTIONS[dataset],
            "evaluation_framework": FRAMEWORK,
            "tasks": tasks,
        },
        sort_keys=False,
    )
    return text
