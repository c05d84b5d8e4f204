"""Two sets that do not publish records, read as records: SBU (parallel lists) and Visual Genome (two files)."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .byte_range_lines import every_line
from .json_arrays import MalformedJSONError, read_json_array
from .record_files import BadRecord, Record

_URLS_ENDING, _CAPTIONS_ENDING = "_urls.txt", "_captions.txt"
_ADDRESSES_FILE = "image_data.json"


def companion_of(name: str) -> str | None:
    """Return the second file, relative to the folder, that the file of a set is read with."""
    if name.endswith(_URLS_ENDING):
        return name.removesuffix(_URLS_ENDING) + _CAPTIONS_ENDING
    path = Path(name)
    return (path.parent / _ADDRESSES_FILE).as_posix() if path.name == "region_descriptions.json" else None


def parallel_list_records(path: Path, companion: Path | None) -> Iterator[tuple[int, Record | BadRecord]]:
    """Yield pairs of SBU: line by line of two text files, or of the lists `image_urls` and `captions` of one JSON file.

    Where one list is longer, its surplus is refused: from where they part, nobody knows which caption is whose.
    """
    urls: Iterator[Any]
    captions: Iterator[Any]
    if companion is None:
        urls, captions = read_json_array(path, "image_urls"), read_json_array(path, "captions")
    else:
        urls, captions = _text_lines(path), _text_lines(companion)
    missing = object()
    number = 0
    try:
        for number, (url, caption) in enumerate(zip_longest(urls, captions, fillvalue=missing), start=1):
            if url is missing or caption is missing:
                yield (
                    number,
                    BadRecord("malformed_row", f"no {'address' if url is missing else 'caption'} at this place"),
                )
            else:
                yield number, {"url": url, "caption": caption}
    except MalformedJSONError as error:
        yield number, BadRecord("truncated_archive", f"nothing can be read after {number}: {error}")


def visual_genome_records(path: Path, addresses: Path) -> Iterator[tuple[int, Record | BadRecord]]:
    """Yield each image of Visual Genome with its address and its region descriptions, each text once.

    The addresses of all 108,077 images are held, some 20 MB.
    """
    number = 0
    try:
        url_of = {
            image["image_id"]: image.get("url")
            for image in read_json_array(addresses)
            if isinstance(image, dict) and isinstance(image.get("image_id"), int)
        }
        for number, image in enumerate(read_json_array(path), start=1):
            yield number, _visual_genome_record(image, url_of)
    except MalformedJSONError as error:
        yield number, BadRecord("truncated_archive", f"nothing can be read after {number}: {error}")


def _visual_genome_record(image: Any, url_of: dict[int, Any]) -> Record | BadRecord:
    regions = image.get("regions") if isinstance(image, dict) else None
    if not isinstance(regions, list) or not all(isinstance(region, dict) for region in regions):
        return BadRecord("malformed_row", "no list of regions")
    image_id = image.get("id", image.get("image_id", regions[0].get("image_id") if regions else None))
    if not isinstance(image_id, int):
        return BadRecord("malformed_row", "no number of the image")
    return {"image_id": image_id, "url": url_of.get(image_id), "captions": [region.get("phrase") for region in regions]}


def _text_lines(path: Path) -> Iterator[Any]:
    """Lines, blank ones included: here the number of a line is its name."""
    for line in every_line(path):
        yield None if line is None else line.rstrip(b"\r\n")
