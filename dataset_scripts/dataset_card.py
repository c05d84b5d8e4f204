"""The dataset card, README.md, of a `fusionrs` or `rs5m` folder, rendered from its manifest.

Text that came from a source or a user stands in the body only, escaped; the metadata are ours, but for slugs.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import DatasetCardData

from .dataset_card_text import BODY, COMMON_LIMITS, INFRARED_LIMITS, TAKEDOWN
from .markdown_escape import escape, python_string, table
from .rights import license_text, row_rights
from .scenes.scene_encoding import SOURCE as SIMULATOR
from .stages.splits import SPLITS

DATA, LOCAL, INDEX = "data", "local", "index"
CONTACT = "the Community tab of this dataset on the Hugging Face Hub"

_NAMES = {"fusionrs": "FusionRS", "rs5m": "RS5M"}
_TASKS = {
    "fusionrs": ["image-to-text", "zero-shot-image-classification", "text-to-image", "image-to-image"],
    "rs5m": ["image-to-text", "zero-shot-image-classification", "text-to-image"],
}
_TAGS = {
    "fusionrs": ["remote sensing", "geospatial", "infrared", "image-text retrieval", "CLIP"],
    "rs5m": ["remote sensing", "geospatial", "image-text retrieval", "CLIP"],
}
_SUMMARIES = {
    "fusionrs": "pairs of an RGB and an infrared image of one place, with scene captions and captions of what the "
    "infrared shows",
    "rs5m": "remote-sensing images with captions",
}
# Identifiers of the Hub where they are not SPDX in lower case.
_HUB_LICENSES = {"odbl-1.0": "odbl", "pddl-1.0": "pddl"}
_HUB_KNOWN = re.compile(
    r"apache-2\.0|mit|cc0-1\.0|cc-by(-sa|-nc|-nd|-nc-sa|-nc-nd)?-4\.0|cc-by(-sa|-nc|-nc-sa|-nc-nd)?-3\.0|cc-by-2\.[05]|"
    r"cc-by-nc-sa-2\.0|bsd-[23]-clause|cdla-permissive-[12]\.0|cdla-sharing-1\.0|etalab-2\.0|odbl|pddl|unknown"
)
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def render_card(
    manifest: Mapping[str, Any], *, folder: str, public: bool, contact: str = CONTACT, title: str | None = None
) -> str:
    """Return README.md with the configurations that `load_dataset` reads.

    Args:
        manifest: what the build wrote of `dataset`, `sources`, `stages`, `splits`, `shards` and so on.
        folder: name or path for the example of loading.
        public: True leaves out `local/`, which must not leave this machine.
        contact: where to ask for the removal of a row.
        title: name of the dataset; its usual name where None.
    """
    dataset = manifest["dataset"]
    if dataset not in _NAMES:
        raise ValueError(f"dataset is {dataset!r}; there are cards for {', '.join(_NAMES)}.")
    shards = shards_of(manifest, public=public)
    counts = {config: _rows_per_split(own) for config, own in configurations(shards).items()}
    body = BODY.format(
        title=escape(title or _NAMES[dataset]),
        summary=_summary(_SUMMARIES[dataset], counts),
        commercial=_simulated_notice(manifest["sources"]) + _commercial_warning(manifest["sources"]),
        load="\n".join(
            f"{'pairs' if config == 'default' else 'rows_without_images'} = load_dataset({python_string(folder)}"
            f"{'' if position == 0 else ', ' + python_string(config)})"
            for position, config in enumerate(counts)
        ),
        configs=_configs_text(counts),
        splits=_splits_table(manifest, counts),
        withheld=_withheld(manifest, public=public),
        funnel=table(("stage", "rows in", "rows out", "rejected"), map(_stage_cells, manifest["stages"])),
        sources=_sources_table(manifest["sources"]),
        credits=_credits(manifest["sources"]),
        limits=(INFRARED_LIMITS if dataset == "fusionrs" else "") + COMMON_LIMITS,
        takedown=TAKEDOWN.format(contact=escape(contact)),
        revision=escape(manifest.get("code_revision") or "unknown"),
        versions=escape(", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items())),
    )
    metadata = _metadata(manifest, shards, counts, title=title).to_yaml()
    return f"---\n{metadata}\n---\n{body}"


def shards_of(manifest: Mapping[str, Any], *, public: bool) -> list[Mapping[str, Any]]:
    """Return the shards that a folder holds: all, or those that may leave this machine."""
    shards = []
    for shard in manifest["shards"]:
        folder = shard["file"].partition("/")[0]
        if folder not in (DATA, LOCAL, INDEX) or shard["split"] not in SPLITS:
            raise ValueError(
                f"shard {shard['file']!r} of split {shard['split']!r} is neither in {DATA}/, {LOCAL}/ nor {INDEX}/ of "
                f"{', '.join(SPLITS)}; a card must know what may be published."
            )
        if not (public and folder == LOCAL):
            shards.append(shard)
    if not shards:
        raise ValueError("the manifest has no shards to describe; build the dataset first.")
    return shards


def configurations(shards: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the shards of each configuration that has any; the first one is what `load_dataset` takes."""
    found: dict[str, list[Mapping[str, Any]]] = {"default": [], INDEX: []}
    for shard in shards:
        found[INDEX if shard["file"].startswith(f"{INDEX}/") else "default"].append(shard)
    return {config: own for config, own in found.items() if own}


def hub_license(row_licenses: Sequence[str]) -> str:
    """Return the card's `license`: the Hub's name of the one licence of all rows, else `other`."""
    distinct = {text.strip().lower() for text in row_licenses}
    only = distinct.pop() if len(distinct) == 1 else ""
    name = _HUB_LICENSES.get(only, only)
    return name if _HUB_KNOWN.fullmatch(name) else "other"


def _metadata(
    manifest: Mapping[str, Any],
    shards: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Mapping[str, int]],
    *,
    title: str | None,
) -> DatasetCardData:
    dataset, content = manifest["dataset"], _content(shards)
    license_name = hub_license([_license_of(source) for source in manifest["sources"]])
    rows = max(sum(count.values()) for count in counts.values())
    configs, infos = [], []
    for position, (config, own) in enumerate(configurations(shards).items()):
        patterns = {
            split: sorted(
                {f"{shard['file'].partition('/')[0]}/{split}-*.parquet" for shard in own if shard["split"] == split}
            )
            for split in counts[config]
        }
        configs.append(
            {
                "config_name": config,
                **({"default": True} if position == 0 else {}),
                "description": f"content {content}",
                "data_files": [{"split": split, "path": paths} for split, paths in patterns.items()],
            }
        )
        infos.append(
            {
                "config_name": config,
                "splits": [
                    {"name": split, "num_bytes": _bytes(own, split), "num_examples": number}
                    for split, number in counts[config].items()
                ],
                "download_size": _bytes(own),
                "dataset_size": _bytes(own),
            }
        )
    return DatasetCardData(
        license=license_name,
        **({"license_name": "per-row", "license_link": "README.md#sources"} if license_name == "other" else {}),
        pretty_name=_slug(title) if title else _NAMES[dataset],
        language=["en"],
        size_categories=[next((name for limit, name in _SIZES if rows < limit), "10M<n<100M")],
        task_categories=_TASKS[dataset],
        source_datasets=sorted({f"extended|{_slug(source['name'])}" for source in manifest["sources"]}),
        tags=_TAGS[dataset],
        configs=configs,
        dataset_info=infos,
    )


def _bytes(shards: Sequence[Mapping[str, Any]], split: str | None = None) -> int:
    """Bytes of the shards; images dominate, and lie uncompressed, so Arrow's tables are about as large."""
    return sum(shard["bytes"] for shard in shards if split in (None, shard["split"]))


def _content(shards: Sequence[Mapping[str, Any]]) -> str:
    """A name for the content of the shards.

    `datasets` caches a folder under its name and its card, and does not look at the files: without this, another
    folder of the same name that was loaded before would be returned in place of this one.
    """
    return hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest()[:16]


def _slug(name: str) -> str:
    """What of a name can do no harm in metadata."""
    return re.sub(r"[^A-Za-z0-9._ -]+", "-", name).strip("-. ")[:96] or "unnamed"


def _rows_per_split(shards: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    rows = {split: [shard["rows"] for shard in shards if shard["split"] == split] for split in SPLITS}
    return {split: sum(numbers) for split, numbers in rows.items() if numbers}


def _license_of(source: Mapping[str, Any]) -> str:
    """The `license` of the source's rows; what is no identifier is nobody's permission."""
    parts = (source["license"], source.get("caption_license"))
    try:
        return license_text(*parts)
    except (TypeError, ValueError):
        return "unknown"


def _simulated_notice(sources: Sequence[Mapping[str, Any]]) -> str:
    """Simulated rows are never passed off as real ones."""
    simulated = sum(source["rows"] for source in sources if source["name"] == SIMULATOR)
    if not simulated:
        return ""
    if len(sources) == 1:
        return "\n\n**Every row is simulated; nothing here was observed.** Scores on it say nothing about real imagery."
    return f"\n\n**{simulated} rows are simulated** (`source` is `{SIMULATOR}`); nothing in them was observed."


def _commercial_warning(sources: Sequence[Mapping[str, Any]]) -> str:
    names = [escape(source["name"]) for source in sources if row_rights(_license_of(source)).non_commercial]
    if not names:
        return ""
    return f"\n\n**Not for commercial use**: rows of {', '.join(names)} have a licence that forbids it."


def _summary(things: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    rows = {config: sum(count.values()) for config, count in counts.items()}
    if "default" not in rows:
        return f"An index, without images, of {rows[INDEX]} {things}"
    others = rows.get(INDEX, 0) - rows["default"]
    return f"{rows['default']} {things}" + (f"; an index names {others} more" if others > 0 else "")


def _configs_text(counts: Mapping[str, Mapping[str, int]]) -> str:
    texts = {
        "default": "`default`: {rows} rows with images.",
        INDEX: "`index`: all {rows} rows, without images: identifiers, hashes, leak groups, splits, licences, and the "
        "captions that may be handed on.",
    }
    return "\n".join(f"- {texts[config].format(rows=sum(count.values()))}" for config, count in counts.items())


def _splits_table(manifest: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]) -> str:
    audited = (manifest.get("audit") or {}).get("splits", {})
    rows = []
    for split, facts in manifest["splits"].items():
        held = [counts[config].get(split, 0) for config in counts]
        mean = audited.get(split, {}).get("mean_group_rows", facts["rows"] / max(1, facts["leak_groups"]))
        rows.append([split, facts["rows"], *held, facts["leak_groups"], f"{mean:.2f}"])
    heads = ("split", "rows", *(f"in `{config}`" for config in counts), "leak groups", "rows per group")
    return table(heads, rows)


def _withheld(manifest: Mapping[str, Any], *, public: bool) -> str:
    rows = {
        folder: sum(shard["rows"] for shard in manifest["shards"] if shard["file"].startswith(f"{folder}/"))
        for folder in (DATA, LOCAL)
    }
    text = (
        f"Images and captions of {rows[LOCAL]} rows may not be handed on: their licence is unknown, or does not permit "
        "it, or does not permit an infrared image made from the RGB image. "
    )
    if not rows[LOCAL]:
        return f"Nothing: the licences of all {rows[DATA]} rows with images permit handing them on."
    if public:
        return text + (
            f"They are not part of this dataset. `{INDEX}` names these rows, so that whoever has the sources can build "
            "them; their captions and classes are empty there wherever the licence of the captions permits nothing."
        )
    return text + (
        f"They lie in `{LOCAL}/`, **which must not leave this machine**; `default` reads them together with the rows "
        f"in `{DATA}/`. Do not upload this folder as it is."
    )


def _stage_cells(stage: Mapping[str, Any]) -> tuple[object, ...]:
    rejected = ", ".join(f"{reason} {rows}" for reason, rows in stage["rejected"].items())
    return stage["stage"], stage["rows_in"], stage["rows_out"], rejected or "none"


def _sources_table(sources: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for source in sources:
        rights = row_rights(_license_of(source))
        permitted = {"images": rights.images, "derived infrared": rights.derived_images, "captions": rights.captions}
        outgoing = ", ".join(name for name, may in permitted.items() if may) or "nothing"
        if rights.non_commercial:
            outgoing += "; not for commercial use"
        caption_license = source.get("caption_license") or source["license"]
        rows.append([source["name"], source["rows"], source["license"], caption_license, outgoing])
    return table(("source", "rows", "licence of images", "licence of captions", "these permit"), rows)


def _credits(sources: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for source in sources:
        facts = [escape(source.get(key) or "") for key in ("attribution", "citation")]
        lines.append(
            f"- **{escape(source['name'])}**: {' '.join(fact for fact in facts if fact) or 'no attribution given'}"
        )
    return "\n".join(lines)
