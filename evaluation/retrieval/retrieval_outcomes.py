"""Retrieval protocols on bundles: metrics, chance beside them, and what each case adds.

A row of the test set that was not embedded is wrong as a query and never found. Shapes: N rows, T texts.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import lgamma
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cases import Cases, Measured, Outcome, Part, hits, metric_of
from ..embedding import Bundle, numbered
from ..results import Metric
from . import fusion_blend, pair_retrieval, retrieval_rs
from .anchored_ranks import RECALLS, Booleans, anchor, ranks_of_keys, ranks_of_pairs
from .recall import Floats, Ranks
from .retrieval_fusionrs import DIRECTIONS, NO_TEXT, positives_of, rows_asked

Array = npt.NDArray[Any]

# What makes texts of several rows count as one.
TEXT_KEYS = ("caption_key", "infrared_caption_key")
# The group of the rows with an infrared text, where not all have one.
SPOKEN = "rows_with_infrared_text"
# FusionRS's Mean R is over these.
FOUR_DIRECTIONS = (("infrared", "text"), ("text", "infrared"), ("rgb", "infrared"), ("infrared", "rgb"))


def retrieval_fusionrs(bundle: Bundle, tested: Bundle) -> Outcome:
    """Every direction the bundle has: by caption keys, by row alone (`single_positive/`), and within each source."""
    keyed = replace(tested, **{name: key if len(key := getattr(tested, name)) else tested.id for name in TEXT_KEYS})
    metrics, measured = _all_directions(bundle, keyed, "")
    if not metrics:
        raise ValueError(
            "retrieval-fusionrs needs two of rgb, infrared, fused, text, infrared_text; the bundle has one."
        )
    spoken = rows_asked(keyed, "infrared_text", "rgb")
    if any(len(set(getattr(keyed, name).tolist())) < len(keyed.id) for name in TEXT_KEYS):
        alone = np.where(spoken, keyed.id, NO_TEXT)
        single = replace(keyed, caption_key=keyed.id, infrared_caption_key=alone)
        more, more_measured = _all_directions(bundle, single, "single_positive/", only_texts=True)
        metrics, measured = metrics + more, measured + more_measured
    sources = sorted(set(tested.source.tolist()))
    for source in sources if len(sources) > 1 else []:
        rows = tested.source == source
        inside = np.isin(bundle.id, tested.id[rows])
        part = {name: getattr(keyed, name)[rows] for name in ("id", "source", *TEXT_KEYS)}
        metrics += _all_directions(_rows(bundle, inside), Bundle(**part), f"source/{source}/")[0]
    groups = {"rows": tested.id} | ({} if spoken.all() else {SPOKEN: tested.id[spoken]})
    return Outcome(metrics=metrics, cases=Cases(groups=groups, measured=measured))


def _all_directions(
    bundle: Bundle, tested: Bundle, prefix: str, only_texts: bool = False
) -> tuple[list[Metric], list[Measured]]:
    arrays = {name: getattr(bundle, name) for pair in DIRECTIONS for name in pair}
    unit = {name: anchor(tested.id, bundle.id, array, name) for name, array in arrays.items() if array is not None}
    metrics, measured, four, luck = list[Metric](), list[Measured](), list[Part](), list[float]()
    for query, gallery in DIRECTIONS:
        is_of_text = not {"text", "infrared_text"}.isdisjoint((query, gallery))
        if query not in unit or gallery not in unit or (only_texts and not is_of_text):
            continue
        rows = rows_asked(tested, query, gallery)
        keys = _codes(positives_of(tested, query, gallery)[rows])
        (queries, asked), (entries, held) = unit[query], unit[gallery]
        queries, asked, entries, held = queries[rows], asked[rows], entries[rows], held[rows]
        ranks = ranks_of_keys(queries, entries, keys, keys, asked, held)
        positives = np.bincount(keys)[keys]
        for k in RECALLS:
            name = f"{prefix}{query}_to_{gallery}/recall_at_{k}"
            measured.append(Measured(name=name, group="rows" if rows.all() else SPOKEN, parts=[hits(ranks, k)]))
            metrics += [metric_of(measured[-1]), _chance(name, positives, len(keys), k)]
            if (query, gallery) in FOUR_DIRECTIONS:
                four.append(hits(ranks, k))
                luck.append(metrics[-1].value)
    if len(four) == len(FOUR_DIRECTIONS) * len(RECALLS):
        measured.append(Measured(name=f"{prefix}mean_recall_of_12", group="rows", parts=four))
        chance = _exact(measured[-1].name, float(np.mean(luck)), len(tested.id))
        metrics += [metric_of(measured[-1]), chance]
    return metrics, measured


def retrieval_rs_variant(variant: str, bundle: Bundle, tested: Bundle, captions_per_image: int | None) -> Outcome:
    """`retrieval-rs`, `retrieval-rs-dedup` or `retrieval-skyscript`, from texts with the image each is of."""
    rgb, text = need(bundle, "rgb", variant), need(bundle, "text", variant)
    of = need(tested, "image_id", variant)
    keys = need(tested, "caption_key", variant)
    if len(text) != len(of) and len(bundle.text_id) == 0:
        raise ValueError(
            f"{variant}: the bundle holds {len(text)} texts, the test set {len(of)}; say which are missing with the "
            "array text_id in both."
        )
    ids, embedded_ids = _caption_ids(bundle, tested)
    manifest = retrieval_rs.CaptionManifest(
        image_ids=tested.id,
        caption_ids=ids,
        caption_image_ids=of,
        caption_keys=keys,
        captions_per_image=captions_per_image,
    )
    embedded = retrieval_rs.CaptionEmbeddings(image_ids=bundle.id, images=rgb, caption_ids=embedded_ids, captions=text)
    score = {
        "retrieval-rs": retrieval_rs.score,
        "retrieval-rs-dedup": retrieval_rs.score_dedup,
        "retrieval-skyscript": retrieval_rs.score_skyscript,
    }[variant]
    metrics = score(manifest, embedded)
    cases = _caption_cases(manifest, embedded, variant)
    chance = _caption_chance(manifest, variant)
    return Outcome(metrics=metrics + chance, cases=cases)


def _caption_ids(bundle: Bundle, tested: Bundle) -> tuple[Array, Array]:
    """What tells captions apart, in the test set and in the bundle: ids, or image and text, or image and order."""
    has_ids = len(tested.text_id) or len(bundle.text_id)
    if bundle is tested or has_ids or len(bundle.image_id) == 0 or len(bundle.caption_key) == 0:
        return tested.text_id if len(tested.text_id) else numbered(tested.image_id), bundle.text_ids
    ids, embedded = (
        numbered(np.array([f"{of}: {text}" for of, text in zip(one.image_id, one.caption_key, strict=True)]))
        for one in (tested, bundle)
    )
    return ids, embedded


def _caption_cases(
    manifest: retrieval_rs.CaptionManifest, embedded: retrieval_rs.CaptionEmbeddings, variant: str
) -> Cases:
    images, image_there = anchor(manifest.image_ids, embedded.image_ids, embedded.images, "images")
    captions, caption_there = anchor(manifest.caption_ids, embedded.caption_ids, embedded.captions, "captions")
    of, kept, caption_index, image_index = _positive_pairs(manifest, variant, caption_there)
    captions, caption_there = captions[kept], caption_there[kept]
    to_text = ranks_of_pairs(images, captions, (image_index, caption_index), image_there, caption_there)
    to_image = ranks_of_pairs(captions, images, (caption_index, image_index), caption_there, image_there)
    text_parts = [hits(to_text, k) for k in RECALLS]
    groups = {"images": manifest.image_ids}
    if variant == "retrieval-skyscript":
        image_parts, groups["texts"] = [hits(to_image, k) for k in RECALLS], manifest.caption_keys[kept]
    else:
        image_parts = [_by_image(to_image, of, k) for k in RECALLS]
    of_texts = "texts" if "texts" in groups else "images"
    measured = []
    for name, parts, group in (("image_to_text", text_parts, "images"), ("text_to_image", image_parts, of_texts)):
        for k, part in zip(RECALLS, parts, strict=True):
            measured.append(Measured(name=f"{name}/recall_at_{k}", group=group, parts=[part]))
        if variant == "retrieval-skyscript":
            measured.append(Measured(name=f"{name}/mean_recall", group=group, parts=parts))
    if variant != "retrieval-skyscript":
        measured.append(Measured(name="mean_recall", group="images", parts=[*text_parts, *image_parts]))
    return Cases(groups=groups, measured=measured)


def _by_image(ranks: Ranks, of: Array, k: int) -> Part:
    counts = np.bincount(of).astype(np.float64)
    return np.bincount(of, weights=(ranks < k), minlength=len(counts)).astype(np.float64), counts


def _positive_pairs(
    manifest: retrieval_rs.CaptionManifest, variant: str, there: npt.NDArray[np.bool_]
) -> tuple[Array, Array, Array, Array]:
    """The image of each caption, the captions that are kept, and every positive (kept caption, image)."""
    of, everything = manifest.images_of_captions, np.arange(len(manifest.caption_ids))
    if variant == "retrieval-rs":
        return of, everything, everything, of
    keys = np.unique(manifest.caption_keys, return_inverse=True)[1]
    shared = np.unique(np.stack([keys, of]), axis=1)  # (2, pairs of text and image)
    kept = everything
    if variant == "retrieval-skyscript":
        # One caption per text: the first that was embedded.
        order = np.lexsort((everything, ~there, keys))
        kept = order[np.searchsorted(keys[order], np.arange(keys.max() + 1))]
    pairs = [(row, image) for row, key in enumerate(keys[kept]) for image in shared[1][_span(shared[0], int(key))]]
    table = np.array(pairs, dtype=np.int64)
    return of, kept, table[:, 0], table[:, 1]


def _span(ordered: Array, key: int) -> slice:
    low, high = np.searchsorted(ordered, [key, key + 1])
    return slice(int(low), int(high))


def _caption_chance(manifest: retrieval_rs.CaptionManifest, variant: str) -> list[Metric]:
    there = np.ones(len(manifest.caption_ids), dtype=np.bool_)
    _, kept, caption_index, image_index = _positive_pairs(manifest, variant, there)
    of_image = np.bincount(image_index, minlength=len(manifest.image_ids))
    of_text = np.bincount(caption_index, minlength=len(kept))
    metrics = [_chance(f"image_to_text/recall_at_{k}", of_image, len(kept), k) for k in RECALLS]
    metrics += [_chance(f"text_to_image/recall_at_{k}", of_text, len(manifest.image_ids), k) for k in RECALLS]
    if variant == "retrieval-skyscript":
        for way, n in (("image_to_text", len(manifest.image_ids)), ("text_to_image", len(kept))):
            of_way = [metric.value for metric in metrics if metric.name.startswith(f"chance/{way}/")]
            metrics.append(_exact(f"{way}/mean_recall", float(np.mean(of_way)), n))
        return metrics
    return [*metrics, _exact("mean_recall", float(np.mean([m.value for m in metrics])), len(manifest.image_ids))]


def pair(bundle: Bundle, tested: Bundle) -> Outcome:
    """`pair-retrieval`: RGB and infrared of one scene find each other."""
    sensors = [
        pair_retrieval.Sensor(name=name, ids=bundle.id, embeddings=need(bundle, name, "pair-retrieval"))
        for name in ("rgb", "infrared")
    ]
    metrics = pair_retrieval.score(tested.id, *sensors)
    one, other = (anchor(tested.id, sensor.ids, sensor.embeddings, sensor.name) for sensor in sensors)
    measured = _six_cases(_two_ways(one, other, "rgb", "infrared", tested.id), "")
    ones = np.ones(len(tested.id), dtype=np.int64)
    names = [one.name for one in measured if one.name != "mean_recall"]
    chance = [_chance(name, ones, len(ones), int(name.rsplit("_", 1)[1])) for name in names]
    chance.append(_exact("mean_recall", float(np.mean([one.value for one in chance])), len(ones)))
    return Outcome(metrics=metrics + chance, cases=Cases(groups={"pairs": tested.id}, measured=measured))


def fusion(bundle: Bundle, tested: Bundle, validation: Bundle) -> Outcome:
    """`fusion`: a blend that validation chose, and the model's own fused embedding where it has one."""
    chosen, metrics = fusion_blend.score(_split(validation, validation), _split(bundle, tested))
    rgb, there = anchor(tested.id, bundle.id, need(bundle, "rgb", "fusion"), "rgb")
    infrared, _ = anchor(tested.id, bundle.id, need(bundle, "infrared", "fusion"), "infrared")
    text = anchor(tested.id, bundle.id, need(bundle, "text", "fusion"), "text")
    measured = []
    for row, alpha in {**fusion_blend.FIXED, "selected": chosen}.items():
        blended = fusion_blend.blend(rgb, infrared, alpha), there
        measured += _six_cases(_two_ways(blended, text, "fused", "text", tested.caption_key), f"{row}/")
    if bundle.fused is not None:
        fused = anchor(tested.id, bundle.id, bundle.fused, "fused")
        own = _two_ways(fused, text, "fused", "text", tested.caption_key)
        metrics += [replace(metric, name=f"own_fused/{metric.name}") for metric in pair_retrieval.six_recalls(own)]
        measured += _six_cases(own, "own_fused/")
    metrics += _fusion_chance(tested.caption_key)
    cases = Cases(groups={"pairs": tested.id}, measured=measured)
    return Outcome(metrics=metrics, cases=cases, notes={"selected_alpha": chosen})


def _fusion_chance(keys: Array) -> list[Metric]:
    positives = np.unique(keys, return_inverse=True)[1]
    counts = np.bincount(positives)[positives]
    metrics = [_chance(f"recall_at_{k}", counts, len(counts), k) for k in RECALLS]
    return [*metrics, _exact("mean_recall", float(np.mean([metric.value for metric in metrics])), len(counts))]


def _split(bundle: Bundle, tested: Bundle) -> fusion_blend.Split:
    arrays = {name: need(bundle, name, "fusion") for name in ("rgb", "infrared", "text")}
    if len(arrays["text"]) != len(bundle.id):
        raise ValueError(f"fusion needs one text per pair, got {len(arrays['text'])} for {len(bundle.id)} pairs.")
    keys = need(tested, "caption_key", "fusion")
    return fusion_blend.Split(ids=tested.id, caption_keys=keys, embedded_ids=bundle.id, **arrays)


def _two_ways(
    one: tuple[Floats, Booleans], other: tuple[Floats, Booleans], first: str, second: str, keys: Array
) -> dict[str, Ranks]:
    """Ranks both ways between two lots of unit embeddings, each with which rows it has."""
    codes = _codes(keys)
    return {
        f"{first}_to_{second}": ranks_of_keys(one[0], other[0], codes, codes, one[1], other[1]),
        f"{second}_to_{first}": ranks_of_keys(other[0], one[0], codes, codes, other[1], one[1]),
    }


def _six_cases(directions: dict[str, Ranks], prefix: str) -> list[Measured]:
    parts = {f"{prefix}{name}/recall_at_{k}": hits(ranks, k) for name, ranks in directions.items() for k in RECALLS}
    single = [Measured(name=name, group="pairs", parts=[part]) for name, part in parts.items()]
    return [*single, Measured(name=f"{prefix}mean_recall", group="pairs", parts=list(parts.values()))]


def _codes(keys: Array) -> Array:
    """The keys as numbers: comparing strings takes longer than the product of the embeddings."""
    return np.unique(keys, return_inverse=True)[1]


def need(bundle: Bundle, name: str, protocol: str) -> Array:
    """An array that a protocol cannot do without."""
    array: Array | None = getattr(bundle, name)
    if array is None or len(array) == 0:
        raise ValueError(f"{protocol} needs the array {name!r}, which the bundle lacks.")
    return array


def _rows(bundle: Bundle, rows: npt.NDArray[np.bool_]) -> Bundle:
    kept = {name: getattr(bundle, name) for name in ("text", "rgb", "infrared", "fused", "infrared_text")}
    return Bundle(id=bundle.id[rows], **{name: array[rows] for name, array in kept.items() if array is not None})


def _chance(name: str, positives: Sequence[int] | Array, size: int, k: int) -> Metric:
    """Expected recall of a random order: one minus the chance that all k are negatives."""
    counts, times = np.unique(np.asarray(positives), return_counts=True)
    misses = [_all_negative(int(count), size, min(k, size)) for count in counts]
    return _exact(name, 1.0 - float(np.average(misses, weights=times)), int(times.sum()))


def _all_negative(positives: int, size: int, k: int) -> float:
    if size - positives < k:
        return 0.0
    logs = lgamma(size - positives + 1) - lgamma(size - positives - k + 1) - lgamma(size + 1) + lgamma(size - k + 1)
    return float(np.exp(logs))


def _exact(name: str, value: float, n: int) -> Metric:
    return Metric(name=f"chance/{name}", value=value, low=value, high=value, n=n)
