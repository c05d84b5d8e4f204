"""Croissant 1.1 metadata, `croissant.json`, of a dataset folder: every shard with its SHA-256, every column.

Specification: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html. One record set describes one shard:
mlcroissant checks the SHA-256 of a file object that it reads, but not those of a file set, and it reads a file set
into memory as a whole. The record set `shards` lists the others.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Features, Image, List, Value

from .dataset_card import configurations, shards_of
from .durable_files import write_text_durably
from .markdown_escape import one_line
from .rights import NOT_SPDX, TABLE

FILE_NAME = "croissant.json"
_OTHER_LICENSES = "each row has its own: see the column `license`"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_DATA_TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    **dict.fromkeys(("int32", "int64"), "sc:Integer"),
    **dict.fromkeys(("float32", "float64"), "sc:Float"),
}
_SHARD_COLUMNS = {"record_set": "sc:Text", "config": "sc:Text", "split": "sc:Text", "rows": "sc:Integer"}

Json = dict[str, Any]


def croissant_metadata(
    manifest: Mapping[str, Any],
    *,
    features: Mapping[str, Features],
    name: str,
    description: str,
    url: str,
    public: bool,
    base_url: str | None = None,
    version: str | None = None,
    date_published: str | None = None,
) -> Json:
    """Return the JSON-LD of a folder.

    Args:
        manifest: as for `render_card`.
        features: columns of each configuration that has shards.
        name: name of the dataset.
        description: what it is, in a sentence.
        url: its page.
        public: True leaves out `local/`, which must not leave this machine.
        base_url: address that the shards lie under; None describes the folder that `croissant.json` lies in.
        version: such as 1.0.0.
        date_published: such as 2026-01-31.
    """
    configs = configurations(shards_of(manifest, public=public))
    missing = sorted(configs.keys() - features.keys())
    if missing:
        raise ValueError(f"no features are given for {', '.join(missing)}, of which there are shards.")
    prefix = "" if base_url is None else base_url.rstrip("/") + "/"
    shards = [(config, shard) for config, own in configs.items() for shard in own]
    known = {"version": version, "datePublished": date_published}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": one_line(name),
        "description": one_line(description),
        "url": url,
        "license": _licenses(manifest),
        "citeAs": "; ".join(one_line(source["citation"]) for source in manifest["sources"] if source.get("citation")),
        "creditText": "; ".join(
            one_line(f"{source['name']}: {source.get('attribution') or 'no attribution given'}")
            for source in manifest["sources"]
        ),
        "inLanguage": "en",
        "isLiveDataset": False,
        **{key: value for key, value in known.items() if value is not None},
        "distribution": [_file_object(shard, prefix) for _, shard in shards],
        "recordSet": [_shard_list(shards)] + [_record_set(shard, features[config]) for config, shard in shards],
    }


def write_croissant(folder: Path, metadata: Json) -> Path:
    """Write `croissant.json` into a folder, whole or not at all, and return its path."""
    path = folder / FILE_NAME
    write_text_durably(path, json.dumps(metadata, indent=1, ensure_ascii=False) + "\n")
    return path


def record_set_name(shard: Mapping[str, Any]) -> str:
    """Name of the record set of a shard, such as `data/train-00000-of-00004`."""
    return str(shard["file"]).removesuffix(".parquet")


def _licenses(manifest: Mapping[str, Any]) -> list[str]:
    """Addresses of the licences in SPDX's list; any other is for the reader of the rows to judge."""
    texts = [source.get(key) for source in manifest["sources"] for key in ("license", "caption_license")]
    identifiers = {text for text in texts if text}
    known = sorted(text for text in identifiers if text.lower() in TABLE and text.lower() not in NOT_SPDX)
    others = [_OTHER_LICENSES] if len(known) < len(identifiers) else []
    return [f"https://spdx.org/licenses/{text}" for text in known] + others


def _file_object(shard: Mapping[str, Any], prefix: str) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": shard["file"],
        "name": shard["file"],
        "contentUrl": f"{prefix}{shard['file']}",
        "contentSize": f"{shard['bytes']} B",
        "encodingFormat": "application/x-parquet",
        "sha256": shard["sha256"],
    }


def _shard_list(shards: list[tuple[str, Mapping[str, Any]]]) -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": "shards",
        "name": "shards",
        "description": "The record sets of this dataset: one for each shard.",
        "field": [
            {"@type": "cr:Field", "@id": f"shards/{column}", "name": column, "dataType": kind}
            for column, kind in _SHARD_COLUMNS.items()
        ],
        "data": [
            {
                "shards/record_set": record_set_name(shard),
                "shards/config": config,
                "shards/split": shard["split"],
                "shards/rows": shard["rows"],
            }
            for config, shard in shards
        ],
    }


def _record_set(shard: Mapping[str, Any], features: Features) -> Json:
    name = record_set_name(shard)
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/id"},
        "field": [_field(f"{name}/{column}", column, kind, shard["file"]) for column, kind in features.items()],
    }


def _field(identifier: str, column: str, kind: Any, file: str) -> Json:
    field: Json = {"@type": "cr:Field", "@id": identifier, "name": column}
    source: Json = {"fileObject": {"@id": file}, "extract": {"column": column}}
    if isinstance(kind, Image):
        return field | {"dataType": "sc:ImageObject", "source": source | {"transform": {"jsonPath": "bytes"}}}
    if isinstance(kind, Value):
        return field | {"dataType": _data_type(column, kind), "source": source}
    if not isinstance(kind, List):
        raise ValueError(f"column {column!r} is {kind}; there is no Croissant field for it.")
    field |= {"isArray": True, "arrayShape": "-1"}
    if isinstance(kind.feature, Value):
        return field | {"dataType": _data_type(column, kind.feature), "source": source}
    return field | {
        "subField": [
            {
                "@type": "cr:Field",
                "@id": f"{identifier}/{part}",
                "name": part,
                "dataType": _data_type(f"{column}.{part}", own),
                "source": source | {"transform": {"jsonPath": part}},
            }
            for part, own in kind.feature.items()
        ]
    }


def _data_type(column: str, kind: Value) -> str:
    if kind.dtype not in _DATA_TYPES:
        raise ValueError(f"column {column!r} is {kind.dtype}; Croissant fields are of {', '.join(_DATA_TYPES)}.")
    return _DATA_TYPES[kind.dtype]
