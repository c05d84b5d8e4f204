"""Sources of RS5M: every published form is read row by row, cut anywhere without loss, and refused by name."""

import gzip
import hashlib
import io
import json
import os
import pickle
import tarfile
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from dataset_scripts.sources import bigearthnet, fmow, million_aid, rs5m_release, web_pairs
from dataset_scripts.sources.bigearthnet import BigEarthNet, read_patch_list, reflectance_to_rgb
from dataset_scripts.sources.fmow import FMoW
from dataset_scripts.sources.json_arrays import MalformedJSONError, read_json_array
from dataset_scripts.sources.million_aid import MillionAID
from dataset_scripts.sources.rs5m_release import RS5MMetafiles, RS5MRelease, source_of, subset_of
from dataset_scripts.sources.source_row import Part, Source, SourceRow
from dataset_scripts.sources.web_pairs import WebPairs
from dataset_scripts.sources.web_sources import WEB, WEB_SOURCES
from dataset_scripts.stages.rejects import Reject


def read_all(source: Source, rows_per_part: int = 1000) -> list[SourceRow | Reject]:
    """Read every part as another process would: source and part travel as bytes."""
    source = pickle.loads(pickle.dumps(source))
    parts = source.parts(rows_per_part)
    assert len({part.name for part in parts}) == len(parts)
    out: list[SourceRow | Reject] = []
    for part in parts:
        sent = Part(name=part.name, fingerprint=part.fingerprint, where=json.loads(json.dumps(part.where)))
        read = list(source.read(sent))
        assert part.rows is None or part.rows == len(read)
        assert [one.row for one in read if isinstance(one, Reject)] == [
            place for place, one in enumerate(read) if isinstance(one, Reject)
        ]
        out += read
    return out


def rows_of(read: Iterable[SourceRow | Reject]) -> list[SourceRow]:
    return [one for one in read if isinstance(one, SourceRow)]


def reasons_of(read: Iterable[SourceRow | Reject]) -> list[str]:
    return [one.reason for one in read if isinstance(one, Reject)]


def url_id(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:24]


def write_parquet(path: Path, columns: dict[str, Any], rows_per_group: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.table(columns), path, row_group_size=rows_per_group)


# The eleven sets -----------------------------------------------------------------------------------------------------


def test_the_table_holds_the_eleven_sets_of_the_paper_with_their_terms() -> None:
    assert list(WEB_SOURCES) == [
        *("laion2b", "laion400m", "laioncoco", "coyo700m", "cc3m", "cc12m", "sbu", "wit", "yfcc15m", "redcaps", "vg")
    ]
    for source in WEB_SOURCES.values():
        assert all((source.citation, source.homepage, source.version, source.attribution))
        assert subset_of(source.name) == "pub11"


def test_laion2b_gives_address_text_and_hash_of_the_address(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "part-00000.snappy.parquet",
        {
            "SAMPLE_ID": [1, 2, 3, 4],
            "URL": ["https://a.org/1.jpg", "http://b.org/2.png", "https://c.org/3.jpg", "https://d.org/4.jpg"],
            "TEXT": ["Aerial  view\u0000 of a port", "Cafe\u0301 from above", "x", "y"],
            "NSFW": ["UNLIKELY", "UNSURE", "NSFW", None],
            "similarity": [0.3, 0.3, 0.3, 0.3],
        },
    )
    read = read_all(WebPairs(folder=tmp_path, source=WEB_SOURCES["laion2b"]))
    assert read == [
        SourceRow(
            source="laion2b",
            source_id=url_id("https://a.org/1.jpg"),
            url="https://a.org/1.jpg",
            captions=("Aerial view of a port",),
            caption_license="CC-BY-4.0",
            attribution="LAION-5B (laion2B-en)",
        ),
        SourceRow(
            source="laion2b",
            source_id=url_id("http://b.org/2.png"),
            url="http://b.org/2.png",
            captions=("Caf\u00e9 from above",),
            caption_license="CC-BY-4.0",
            attribution="LAION-5B (laion2B-en)",
        ),
        Reject(2, "marked_unsafe", "part-00000.snappy.parquet, row 3 from row group 0: NSFW is NSFW"),
        SourceRow(
            source="laion2b",
            source_id=url_id("https://d.org/4.jpg"),
            url="https://d.org/4.jpg",
            captions=("y",),
            caption_license="CC-BY-4.0",
            attribution="LAION-5B (laion2B-en)",
        ),
    ]
    everything = read_all(WebPairs(folder=tmp_path, source=WEB_SOURCES["laion2b"], drop_marked_unsafe=False))
    assert [row.captions for row in rows_of(everything)][2] == ("x",)


def test_laion400m_states_licences_row_by_row(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "a.parquet",
        {
            "URL": ["https://a.org/1", "https://a.org/2", "https://a.org/3"],
            "TEXT": ["one", "two", "three"],
            "NSFW": ["UNLIKELY"] * 3,
            "LICENSE": [
                "?",
                "https://creativecommons.org/licenses/by-nc-sa/2.0/",
                "creativecommons.org/publicdomain/zero/1.0",
            ],
        },
    )
    rows = rows_of(read_all(WebPairs(folder=tmp_path, source=WEB_SOURCES["laion400m"])))
    assert [row.license for row in rows] == ["unknown", "CC-BY-NC-SA-2.0", "CC0-1.0"]


def test_laioncoco_gives_the_machine_caption_and_the_web_caption_when_asked(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "a.parquet",
        {
            "URL": ["https://a.org/1", "https://a.org/2"],
            "TEXT": ["web one", "web two"],
            "top_caption": ["an aerial photo", "a map"],
            "all_captions": [["an aerial photo", "b"], ["a map"]],
            "punsafe": [0.01, 0.93],
        },
    )
    coco = WEB_SOURCES["laioncoco"]
    read = read_all(WebPairs(folder=tmp_path, source=coco))
    assert [(row.captions, row.caption_kind) for row in rows_of(read)] == [(("an aerial photo",), "machine")]
    assert read[1] == Reject(1, "marked_unsafe", "a.parquet, row 2 from row group 0: punsafe is 0.93")
    web = replace(coco, caption_columns=("TEXT", "all_captions"))
    assert rows_of(read_all(WebPairs(folder=tmp_path, source=web)))[0].captions == ("web one", "an aerial photo", "b")


def test_coyo700m_is_named_by_its_id(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "data" / "part-0.parquet",
        {
            "id": [841814333321, 1, None],
            "url": ["https://a.org/1", "https://a.org/2", "https://a.org/3"],
            "text": ["satellite map", "b", "c"],
            "image_phash": ["f00f", "f00e", "f00d"],
            "nsfw_score_opennsfw2": [0.1, 0.1, 0.1],
            "nsfw_score_gantman": [0.1, 0.5, None],
        },
    )
    read = read_all(WebPairs(folder=tmp_path, source=WEB_SOURCES["coyo700m"]))
    assert [(row.source_id, row.sha256, row.caption_license) for row in rows_of(read)] == [
        ("841814333321", None, "CC-BY-4.0")
    ]
    assert reasons_of(read) == ["marked_unsafe", "no_id"]


def test_cc3m_and_cc12m_are_tables_without_header_in_opposite_order(tmp_path: Path) -> None:
    (tmp_path / "three").mkdir()
    (tmp_path / "twelve").mkdir()
    # The labelled edition of CC3M has further columns; a quote is a quote.
    (tmp_path / "three" / "Train.tsv").write_text('a "view\thttps://a.org/1\nb\thttps://a.org/2\ttag\thash\t0.9\nc\n')
    (tmp_path / "twelve" / "cc12m.tsv").write_text("https://a.org/1\ta\nhttps://a.org/2\tb\n")
    three = read_all(WebPairs(folder=tmp_path / "three", source=WEB_SOURCES["cc3m"]))
    twelve = read_all(WebPairs(folder=tmp_path / "twelve", source=WEB_SOURCES["cc12m"]))
    assert [(row.url, row.captions) for row in rows_of(three)] == [
        ("https://a.org/1", ('a "view',)),
        ("https://a.org/2", ("b",)),
    ]
    assert three[2] == Reject(2, "malformed_row", "Train.tsv, line 3: 1 fields, expected 2")
    assert [(row.url, row.captions, row.source) for row in rows_of(twelve)] == [
        ("https://a.org/1", ("a",), "cc12m"),
        ("https://a.org/2", ("b",), "cc12m"),
    ]
    assert rows_of(twelve)[0].caption_license == "LicenseRef-Conceptual-Captions"


def test_sbu_is_read_from_parallel_lists_and_from_parallel_text_files(tmp_path: Path) -> None:
    urls, captions = ["https://a.org/1", "https://a.org/2", "https://a.org/3"], ["one", "", "three"]
    (tmp_path / "json").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "json" / "sbu-captions-all.json").write_text(
        json.dumps({"user_ids": ["u"] * 3, "captions": captions, "image_urls": urls, "count": 3})
    )
    stem = "SBU_captioned_photo_dataset"
    (tmp_path / "text" / f"{stem}_urls.txt").write_text("\r\n".join(urls) + "\r\n")
    (tmp_path / "text" / f"{stem}_captions.txt").write_text("\r\n".join(captions) + "\r\n")
    for form in ("json", "text"):
        read = read_all(WebPairs(folder=tmp_path / form, source=WEB_SOURCES["sbu"]))
        assert [(row.url, row.captions) for row in rows_of(read)] == [(urls[0], ("one",)), (urls[2], ("three",))]
        assert reasons_of(read) == ["no_caption"]
    (tmp_path / "text" / f"{stem}_captions.txt").write_text("one\n")
    read = read_all(WebPairs(folder=tmp_path / "text", source=WEB_SOURCES["sbu"]))
    assert read[1:] == [
        Reject(1, "malformed_row", f"{stem}_urls.txt, line 2: no caption at this place"),
        Reject(2, "malformed_row", f"{stem}_urls.txt, line 3: no caption at this place"),
    ]
    (tmp_path / "text" / f"{stem}_captions.txt").unlink()
    with pytest.raises(ValueError, match=r"is read together with 'SBU_captioned_photo_dataset_captions\.txt'"):
        WebPairs(folder=tmp_path / "text", source=WEB_SOURCES["sbu"]).parts(10)


def test_wit_keeps_english_and_reads_quoted_fields_with_line_ends(tmp_path: Path) -> None:
    header = "language\tpage_url\timage_url\tpage_title\tcaption_reference_description\tcaption_alt_text_description"
    lines = [
        "en\tp\thttps://u.org/1.jpg\tt\tSatellite image of Rome\t",
        "de\tp\thttps://u.org/2.jpg\tt\tLuftbild\t",
        'en\tp\thttps://u.org/3.jpg\tt\t"A ""quoted""\ncaption\twith all"\t',
        "en\tp\thttps://u.org/4.jpg\tt\t\talt only",
    ]
    with gzip.open(tmp_path / "wit_v1.train.all-00000-of-00010.tsv.gz", "wt") as file:
        file.write("\n".join([header, *lines, ""]))
    read = read_all(WebPairs(folder=tmp_path, source=WEB_SOURCES["wit"]))
    name = "wit_v1.train.all-00000-of-00010.tsv.gz"
    assert [row.captions[0] for row in rows_of(read)] == ["Satellite image of Rome", 'A "quoted" caption with all']
    assert [one for one in read if isinstance(one, Reject)] == [
        Reject(1, "other_language", f"{name}, line 3: de"),
        Reject(3, "no_caption", f"{name}, line 6"),
    ]
    assert rows_of(read)[0].caption_license == "CC-BY-SA-3.0"


def test_yfcc15m_gives_title_and_description_with_author_licence_place_and_date(tmp_path: Path) -> None:
    columns = WEB_SOURCES["yfcc15m"].tsv_columns
    values = {
        "photoid": "6985418911",
        "unickname": "jane+doe",
        "datetaken": "2012-02-16 09:56:37.0",
        "title": "Aerial+view+%28Rome%29",
        "description": "Seen%0Afrom+above",
        "longitude": "12.48",
        "latitude": "41.9",
        "downloadurl": "http://farm8.staticflickr.com/7205/x.jpg",
        "licenseurl": "http://creativecommons.org/licenses/by-nc-nd/2.0/",
    }
    zero = {
        **values,
        "photoid": "2",
        "longitude": "0",
        "latitude": "0",
        "datetaken": "0000-00-00 00:00:00.0",
        "title": "",
    }
    (tmp_path / "yfcc.tsv").write_text(
        "".join("\t".join(one.get(column, "") for column in columns) + "\n" for one in (values, zero))
    )
    rows = rows_of(read_all(WebPairs(folder=tmp_path, source=WEB_SOURCES["yfcc15m"])))
    assert rows[0] == SourceRow(
        source="yfcc15m",
        source_id="6985418911",
        url="http://farm8.staticflickr.com/7205/x.jpg",
        captions=("Aerial view (Rome)", "Seen from above"),
        license="CC-BY-NC-ND-2.0",
        caption_license="unknown",
        attribution="jane doe; Flickr, through YFCC100M",
        metadata={"latitude": 41.9, "longitude": 12.48, "timestamp": "2012-02-16"},
    )
    assert (rows[1].captions, rows[1].metadata) == (("Seen from above",), {})
    # With a header, as CSV; decoded text with a blank in it is left alone.
    (tmp_path / "yfcc.tsv").unlink()
    (tmp_path / "yfcc.csv").write_text(
        "photoid,title,description,downloadurl,licenseurl\n7,C++ at 100%25 speed,,https://f.org/7.jpg,\n"
    )
    assert rows_of(read_all(WebPairs(folder=tmp_path, source=WEB_SOURCES["yfcc15m"])))[0].captions == (
        "C++ at 100%25 speed",
    )


def test_redcaps_reads_the_annotations_of_each_subreddit_and_year(tmp_path: Path) -> None:
    for subreddit in ("itookapicture_2019", "drone_2020"):
        (tmp_path / f"{subreddit}.json").write_text(
            json.dumps(
                {
                    "info": {"url": "https://redcaps.xyz", "version": "1.0"},
                    "annotations": [
                        {
                            "image_id": f"{subreddit}-b",
                            "author": "someone",
                            "url": "https://i.redd.it/x.jpg",
                            "raw_caption": "ITAP of a field",
                            "caption": "itap of a field",
                            "subreddit": "itookapicture",
                            "created_utc": 1546300800,
                        },
                        "nonsense",
                    ],
                }
            )
        )
    read = read_all(WebPairs(folder=tmp_path, source=WEB_SOURCES["redcaps"]))
    assert [(row.source_id, row.captions, row.metadata, row.attribution) for row in rows_of(read)] == [
        ("drone_2020-b", ("itap of a field",), {}, "RedCaps; Reddit"),
        ("itookapicture_2019-b", ("itap of a field",), {}, "RedCaps; Reddit"),
    ]
    assert read[1] == Reject(1, "malformed_row", "drone_2020.json, element 2: str where an object was expected")


def test_visual_genome_joins_region_descriptions_with_addresses(tmp_path: Path) -> None:
    (tmp_path / "region_descriptions.json").write_text(
        json.dumps(
            [
                {"id": 1, "regions": [{"image_id": 1, "phrase": p} for p in ("aerial view", "a clock", "aerial view")]},
                {"regions": [{"image_id": 2, "phrase": "no id of its own"}]},
                {"id": 3, "regions": [{"image_id": 3, "phrase": "no address"}]},
                {"id": 4},
            ]
        )
    )
    (tmp_path / "image_data.json").write_text(
        json.dumps([{"image_id": n, "url": f"https://vg.org/{n}.jpg", "width": 8} for n in (1, 2)])
    )
    read = read_all(WebPairs(folder=tmp_path, source=WEB_SOURCES["vg"]))
    assert [(row.source_id, row.url, row.captions, row.caption_kind) for row in rows_of(read)] == [
        ("1", "https://vg.org/1.jpg", ("aerial view", "a clock"), "human"),
        ("2", "https://vg.org/2.jpg", ("no id of its own",), "human"),
    ]
    assert reasons_of(read) == ["no_url", "malformed_row"]
    (tmp_path / "image_data.json").unlink()
    with pytest.raises(ValueError, match=r"is read together with 'image_data\.json'"):
        WebPairs(folder=tmp_path, source=WEB_SOURCES["vg"]).parts(10)


# One's own pairs, and what can be wrong with them --------------------------------------------------------------------


def json_lines(rows: Iterable[Any], end: str = "\n") -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + end for row in rows)


def test_columns_of_ones_own_are_named_and_a_published_sha256_is_carried_on(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"image").hexdigest()
    rows = [
        {"link": "https://a.org/1", "say": "a", "digest": digest.upper()},
        {"link": "https://a.org/2", "say": "b", "digest": "d41d8cd98f00b204e9800998ecf8427e"},
    ]
    (tmp_path / "mine.jsonl").write_text(json_lines(rows))
    mine = replace(WEB, name="mine", url_column="link", caption_columns=("say",), sha256_column="digest")
    read = rows_of(read_all(WebPairs(folder=tmp_path, source=mine)))
    assert [(row.source, row.sha256) for row in read] == [("mine", digest), ("mine", None)]


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "tsv"])
def test_a_column_that_is_absent_is_an_error_that_names_those_found(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        write_parquet(path, {"URL": ["https://a.org"], "text": ["a"]})
    else:
        mark = {"csv": ",", "tsv": "\t"}.get(kind, "")
        path.write_text(f"URL{mark}text\nx{mark}y\n" if mark else '{"URL": "x", "text": "y"}\n')
    with pytest.raises(
        ValueError, match=r"has no column 'url' and 'caption'; it has URL, text\. Name the columns of 'web'"
    ):
        WebPairs(folder=tmp_path, source=WEB).parts(10)


def test_a_set_whose_marks_of_unsafe_images_are_missing_is_not_read_unless_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"URL": ["https://a.org"], "TEXT": ["a"]})
    source = WebPairs(folder=tmp_path, source=WEB_SOURCES["laion2b"])
    with pytest.raises(ValueError, match="no column 'NSFW' or 'punsafe' that marks unsafe images; it has URL, TEXT"):
        source.parts(10)
    assert len(rows_of(read_all(replace(source, drop_marked_unsafe=False)))) == 1


def test_every_bad_row_of_a_text_file_is_refused_with_its_line(tmp_path: Path) -> None:
    good = {"url": "https://a.org/1", "caption": "a"}
    lines = [
        good,
        "",
        "{not json",
        "[1, 2]",
        {"url": "", "caption": "a"},
        {"caption": "a"},
        {"url": "ftp://a.org/1", "caption": "a"},
        {"url": "https://a.org/a b", "caption": "a"},
        {"url": "https://a.org/2", "caption": " \u0007\n"},
        {"url": "https://a.org/3"},
        {"url": "https://a.org/4", "caption": {"text": "a"}},
        '{"url": "https://a.org/5", "caption": "\\ud800"}',
        "[" * 100_000,
        {"url": "HTTPS://a.org/6 ", "caption": ["a", None, "a", "b"]},
    ]
    data = json_lines(lines).encode() + b'{"url": "https://a.org/7", "caption": "\xff"}\n'
    (tmp_path / "a.jsonl").write_bytes(data)
    read = read_all(WebPairs(folder=tmp_path, source=WEB))
    assert [(row.url, row.captions) for row in rows_of(read)] == [
        ("https://a.org/1", ("a",)),
        ("HTTPS://a.org/6", ("a", "b")),
    ]
    rejects = [one for one in read if isinstance(one, Reject)]
    assert [(one.reason, one.detail.split(":")[0]) for one in rejects] == [
        ("malformed_row", "a.jsonl, line 3"),
        ("malformed_row", "a.jsonl, line 4"),
        ("no_url", "a.jsonl, line 5"),
        ("no_url", "a.jsonl, line 6"),
        ("malformed_url", "a.jsonl, line 7"),
        ("malformed_url", "a.jsonl, line 8"),
        ("no_caption", "a.jsonl, line 9"),
        ("no_caption", "a.jsonl, line 10"),
        ("malformed_row", "a.jsonl, line 11"),
        ("malformed_row", "a.jsonl, line 12"),
        ("malformed_row", "a.jsonl, line 13"),
        ("malformed_row", "a.jsonl, line 15"),
    ]
    assert set(reasons_of(read)) <= set(web_pairs.REASONS)


def test_text_that_is_not_unicode_in_parquet_costs_its_row_and_not_the_file(tmp_path: Path) -> None:
    raw = arrow.array([b"good", b"\xff\xfe", b"also"], arrow.binary())
    text = arrow.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    write_parquet(tmp_path / "a.parquet", {"url": [f"https://a.org/{n}" for n in range(3)], "caption": text}, 3)
    read = read_all(WebPairs(folder=tmp_path, source=WEB))
    assert [row.captions for row in rows_of(read)] == [("good",), ("also",)]
    assert reasons_of(read) == ["malformed_row"]


def test_a_line_that_never_ends_is_refused_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataset_scripts.sources.byte_range_lines.MAX_LINE_BYTES", 100)
    row = {"url": "https://a.org/1", "caption": "a"}
    (tmp_path / "a.jsonl").write_text(json_lines([row, "x" * 5000, row, "y" * 100, "z" * 99, row]))
    read = read_all(WebPairs(folder=tmp_path, source=WEB))
    assert [type(one).__name__ for one in read] == ["SourceRow", "Reject", "SourceRow", "Reject", "Reject", "SourceRow"]


def test_a_damaged_quote_costs_its_row_and_a_file_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('url,caption\nhttps://a.org/1,"a"\nhttps://a.org/2,"b"c\nhttps://a.org/3,c\n')
    read = read_all(WebPairs(folder=tmp_path, source=WEB))
    assert [row.captions for row in rows_of(read)] == [("a",), ("c",)]
    assert read[1] == Reject(1, "malformed_row", "a.csv, line 3: ',' expected after '\"'")
    (tmp_path / "a.csv").unlink()
    rng = np.random.default_rng(0)
    rows = [{"url": f"https://a.org/{n}", "caption": str(rng.integers(1 << 60))} for n in range(3000)]
    whole = gzip.compress(json_lines(rows).encode(), mtime=0)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    read = read_all(WebPairs(folder=tmp_path, source=WEB))
    kept = rows_of(read)
    assert 500 < len(kept) < 3000
    assert [row.url for row in kept] == [row["url"] for row in rows[: len(kept)]]
    assert reasons_of(read) == ["truncated_archive"]
    assert f"nothing can be read after {len(kept)}: EOFError" in str(read[-1])


def test_files_and_parts_that_lead_outside_the_folder_are_refused(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.jsonl").write_text(json_lines([{"url": "https://a.org/1", "caption": "a"}]))
    (inside / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    source = WebPairs(folder=inside, source=WEB)
    assert read_all(source) == [Reject(0, "outside_source_folder", "link.jsonl")]
    for name in ("../secret.jsonl", str(tmp_path / "secret.jsonl"), "a\0b"):
        part = Part(name="p", fingerprint="", where={"file": name})
        assert list(source.read(part)) == [Reject(0, "outside_source_folder", name)]
    (inside / "folder").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="is a link to a folder"):
        source.parts(10)


def test_a_file_that_changed_after_the_listing_stops_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines([{"url": "https://a.org/1", "caption": "a"}]))
    source = WebPairs(folder=tmp_path, source=WEB)
    [part] = source.parts(10)
    assert source.parts(10) == [part]
    path.write_text(json_lines([{"url": "https://a.org/1", "caption": "abc"}]))
    [changed] = source.parts(10)
    assert (changed.name, changed.fingerprint == part.fingerprint) == (part.name, False)
    with pytest.raises(ValueError, match=r"changed since part '000000-a\.jsonl' was listed"):
        list(source.read(part))
    os.utime(path, ns=(1, 1))
    assert source.parts(10)[0].fingerprint != changed.fingerprint
    (tmp_path / "empty.jsonl").touch()
    assert len(source.parts(10)) == 1
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"b\.jsonl\.gz' cannot be read: nothing can be read after 0: BadGzipFile"):
        source.parts(10)
    with pytest.raises(ValueError, match="rows_per_part is 0, must be at least 1"):
        source.parts(0)
    with pytest.raises(ValueError, match=r"no file in .* ends in"):
        WebPairs(folder=tmp_path, source=WEB_SOURCES["redcaps"]).parts(10)
    with pytest.raises(ValueError, match="is not a folder"):
        WebPairs(folder=tmp_path / "absent", source=WEB).parts(10)


def test_listing_ignores_hidden_files_and_does_not_depend_on_the_order_of_creation(tmp_path: Path) -> None:
    for name in ("b.jsonl", "z/a.jsonl", "A.JSONL", "._b.jsonl", ".cache/c.jsonl", "b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json_lines([{"url": "https://a.org/1", "caption": "a"}]))
    parts = WebPairs(folder=tmp_path, source=WEB).parts(10)
    assert [part.where["file"] for part in parts] == ["A.JSONL", "b.jsonl", "z/a.jsonl"]


# Cutting -------------------------------------------------------------------------------------------------------------


def many_rows(count: int) -> Iterator[tuple[str, str]]:
    rng = np.random.default_rng(7)
    for number in range(count):
        yield f"https://a.org/{number}", "caption \u00e9" + "x" * int(rng.integers(0, 60)) + str(number)


@pytest.mark.parametrize("form", ["plain", "crlf", "mark", "blank", "no_end", "gzip"])
@pytest.mark.parametrize("kind", ["jsonl", "tsv", "headed_tsv"])
def test_parts_of_lines_hold_every_row_once_however_they_are_cut(tmp_path: Path, kind: str, form: str) -> None:
    pairs = list(many_rows(120))
    end = "\r\n" if form == "crlf" else "\n\n\r\n" if form == "blank" else "\n"
    source = replace(WEB, tsv_quoted=False, tsv_columns=("url", "caption") if kind == "tsv" else ())
    lines = (
        [json.dumps({"url": u, "caption": c}) for u, c in pairs] if kind == "jsonl" else ["\t".join(p) for p in pairs]
    )
    lines = ["url\tcaption", *lines] if kind == "headed_tsv" else lines
    text = end.join(lines) + ("" if form == "no_end" else end)
    data = text.encode("utf-8-sig" if form == "mark" else "utf-8")
    name = f"a.{'jsonl' if kind == 'jsonl' else 'tsv'}"
    (tmp_path / (name + ".gz" if form == "gzip" else name)).write_bytes(gzip.compress(data) if form == "gzip" else data)
    web = WebPairs(folder=tmp_path, source=source)
    expected = [(url, (caption,)) for url, caption in pairs]
    for rows_per_part in (1, 7, 64, 120, 10_000):
        read = read_all(web, rows_per_part)
        assert [(row.url, row.captions) for row in rows_of(read)] == expected, rows_per_part
        assert reasons_of(read) == []
    if form == "plain":
        assert 35 < len(web.parts(2)) <= 60
        assert len(web.parts(10_000)) == 1


def test_parts_of_parquet_are_neighbouring_row_groups_with_known_rows(tmp_path: Path) -> None:
    pairs = list(many_rows(50))
    for name, some in (("b", pairs[:29]), ("c", pairs[29:])):
        write_parquet(tmp_path / f"{name}.parquet", {"url": [u for u, _ in some], "caption": [c for _, c in some]}, 4)
    write_parquet(tmp_path / "d.parquet", {"url": arrow.array([], "string"), "caption": arrow.array([], "string")})
    web = WebPairs(folder=tmp_path, source=WEB)
    for rows_per_part in (1, 4, 9, 10_000):
        assert [row.url for row in rows_of(read_all(web, rows_per_part))] == [url for url, _ in pairs]
    assert [part.rows for part in web.parts(9)] == [8, 8, 8, 5, 8, 8, 5]
    assert [part.rows for part in web.parts(1)] == [4] * 7 + [1] + [4] * 5 + [1]
    (tmp_path / "d.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(ValueError, match="is not a whole Parquet file"):
        web.parts(9)


def test_a_table_with_quoted_line_ends_is_one_part(tmp_path: Path) -> None:
    pairs = [(url, f'say "hi",\r\n\n{caption}') for url, caption in many_rows(40)]
    cells = ['"' + caption.replace('"', '""') + '"' for _, caption in pairs]
    body = "".join(f"{url},{cell}\r\n" for (url, _), cell in zip(pairs, cells, strict=True))
    (tmp_path / "a.csv").write_bytes(("\ufeff\r\nurl,caption\r\n" + body).encode())
    web = WebPairs(folder=tmp_path, source=WEB)
    assert len(web.parts(1)) == 1
    assert [(row.url, row.captions) for row in rows_of(read_all(web, 1))] == [
        (url, (" ".join(caption.split()),)) for url, caption in pairs
    ]


def test_memory_stays_flat_over_many_rows(tmp_path: Path) -> None:
    count = 30_000
    with (tmp_path / "a.jsonl").open("w") as file:
        for number in range(count):
            file.write(f'{{"url": "https://a.org/{number}", "caption": "an aerial view of field {number}"}}\n')
    web = WebPairs(folder=tmp_path, source=WEB)
    parts = web.parts(10**9)
    assert len(parts) == 1
    tracemalloc.start()
    try:
        read = sum(1 for _ in web.read(parts[0]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == count
    assert peak < 2**20


def test_json_arrays_are_read_across_any_boundary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [1, 23456789, -1.5e10, 'a\\"]},\u00e9', {"b": [1, {"c": None}]}, [], {}, True, "x" * 50]
    path = tmp_path / "a.json"
    path.write_text(" " + json.dumps({"info": {"a": 1}, "skip": values, "n": 12, "rows": values, "end": 1}, indent=1))
    for chunk in (1, 2, 3, 7, 1000):
        monkeypatch.setattr("dataset_scripts.sources.json_arrays._CHUNK_CHARACTERS", chunk)
        assert list(read_json_array(path, "rows")) == values
    for text, message in (
        ("", r"the end of the file at character 0, expected '\['"),
        ("[1, 2", "the end of the file at character 5, expected ','"),
        ("[1 2]", "'2' at character 3, expected ','"),
        ('[1, {"a": ', "JSONDecodeError at character 4"),
        ("[1,]", "JSONDecodeError at character 3"),
    ):
        path.write_text(text)
        with pytest.raises(MalformedJSONError, match=message):
            list(read_json_array(path))
    path.write_text('{"a": [1], "b": 2}')
    with pytest.raises(MalformedJSONError, match="without a key 'rows'"):
        list(read_json_array(path, "rows"))


# The released RS5M ---------------------------------------------------------------------------------------------------


def add(archive: tarfile.TarFile, name: str, data: bytes | str) -> None:
    content = data.encode() if isinstance(data, str) else data
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def add_sample(archive: tarfile.TarFile, key: str, name: str, caption: str, image: bytes = b"JPEG") -> None:
    add(archive, f"{key}.img_content", image)
    add(archive, f"{key}.img_name", name)
    add(archive, f"{key}.caption", caption)


def test_the_release_gives_set_split_and_kind_of_every_image(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "rs3-val-0031.tar", "w") as archive:
        add_sample(archive, "000", "fmow_airport_1_2_msrgb.jpg", "azimuth 314.30\u00b0. this satellite image shows")
        add_sample(archive, "001", "ben_327475.jpg", "a forest")
    (tmp_path / "train").mkdir()
    with tarfile.open(tmp_path / "train" / "pub11-train-0000.tar", "w") as archive:
        add_sample(archive, "0", "laion2b_0_12.jpg", "Aerial  view")
        add_sample(archive, "1", "laioncoco_7.jpg", "a map")
        add_sample(archive, "2", "pub11_yfcc14m_3.jpg", "a view")
        add_sample(archive, "3", "0001.jpg", "who knows")
    (tmp_path / "notes-train-0000.tar").write_bytes(b"another tar")
    release = RS5MRelease(folder=tmp_path)
    assert [(part.where["file"], part.rows) for part in release.parts(1)] == [
        ("rs3-val-0031.tar", None),
        ("train/pub11-train-0000.tar", None),
    ]
    read = rows_of(read_all(release))
    assert read[1] == SourceRow(
        source="bigearthnet",
        source_id="ben_327475.jpg",
        image=b"JPEG",
        captions=("a forest",),
        caption_kind="machine",
        license="CDLA-Permissive-1.0",
        caption_license="unknown",
        attribution="RS5M",
        split="validation",
    )
    assert [(row.source, subset_of(row.source), row.caption_kind, row.split) for row in read] == [
        ("fmow", "rs3", "machine", "validation"),
        ("bigearthnet", "rs3", "machine", "validation"),
        ("laion2b", "pub11", "web", "train"),
        ("laioncoco", "pub11", "machine", "train"),
        ("yfcc15m", "pub11", "web", "train"),
        ("rs5m_pub11", "pub11", "web", "train"),
    ]
    assert read[0].captions == ("azimuth 314.30\u00b0. this satellite image shows",)
    assert source_of("benches.jpg", "pub11") == "rs5m_pub11"
    with pytest.raises(ValueError, match="'rsicd' is no source of RS5M"):
        subset_of("rsicd")
    with pytest.raises(ValueError, match=r"no file in .* is named like"):
        RS5MMetafiles(folder=tmp_path).parts(1)


def test_odd_members_of_a_tar_are_named_and_lose_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dataset_scripts.sources.rs5m_tars._MAX_BYTES", {"img_content": 50, "img_name": 50, "caption": 50}
    )
    with tarfile.open(tmp_path / "rs3-train-0000.tar", "w") as archive:
        add_sample(archive, "../../etc/0", "ben_0.jpg", "zero")
        link = tarfile.TarInfo("1.img_content")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        add(archive, "notes.txt", "hello")
        add_sample(archive, "2", "ben_2.jpg", "two")
        add(archive, "2.caption", "two again")
        add_sample(archive, "3", "ben_3.jpg", "three", b"x" * 51)
        add_sample(archive, "4", "ben_2.jpg", "a name again")
        add_sample(archive, "5", "ben_5.jpg", " \n")
        add_sample(archive, "6", "", "six")
        add(archive, "7.img_name", "ben_7.jpg")
        add(archive, "8.img_name", b"\xff")
        add_sample(archive, "9", "ben_9.jpg", "nine")
    read = read_all(RS5MRelease(folder=tmp_path))
    assert [(row.source_id, row.captions) for row in rows_of(read)] == [
        ("ben_0.jpg", ("zero",)),
        ("ben_2.jpg", ("two",)),
        ("ben_9.jpg", ("nine",)),
    ]
    assert reasons_of(read) == [
        "unknown_member",
        "unknown_member",
        "duplicate_member",
        "member_too_large",
        "missing_image",
        "duplicate_id",
        "no_caption",
        "no_id",
        "missing_image",
        "malformed_row",
    ]
    assert set(reasons_of(read)) <= set(rs5m_release.REASONS)


def test_a_tar_that_is_cut_or_damaged_anywhere_keeps_whole_rows_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rs3-train-0000.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(4):
            add_sample(archive, str(number), f"ben_{number}.jpg", f"caption {number}", bytes([number + 1]) * 700)
    whole = path.read_bytes()
    sample_bytes = 512 + 1024 + 2 * 1024
    assert reasons_of(read_all(RS5MRelease(folder=tmp_path))) == []
    for cut in [*range(1, 4 * sample_bytes + 1, 257), 4 * sample_bytes]:
        path.write_bytes(whole[:cut])
        read = read_all(RS5MRelease(folder=tmp_path))
        assert reasons_of(read)[-1:] == ["truncated_archive"], cut
        # A row is whole with the last byte of its caption.
        ends = [(number + 1) * sample_bytes - 512 + len("caption 0") for number in range(4)]
        expected = [f"ben_{number}.jpg" for number, end in enumerate(ends) if cut >= end]
        assert [row.source_id for row in rows_of(read)] == expected, cut
    damaged = bytearray(whole)
    damaged[2 * sample_bytes + 10] ^= 255
    path.write_bytes(damaged)
    read = read_all(RS5MRelease(folder=tmp_path))
    assert len(rows_of(read)) == 2
    assert reasons_of(read) == ["truncated_archive"]
    assert "the header at byte 7168 is damaged" in str(read[-1])
    path.write_bytes(b"")
    assert reasons_of(read_all(RS5MRelease(folder=tmp_path))) == ["truncated_archive"]


def test_metafiles_give_rows_with_addresses_and_with_images_where_these_are(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "pub11_train_intermediate.csv").write_text(
        'img_name,text,url\ncc3m_1.jpg,"aerial, view",https://a.org/1\ncc3m_1.jpg,again,\ncc3m_2.jpg,,\n'
    )
    (tmp_path / "csv" / "rs3_val_intermediate.csv").write_text(
        "img_name,words\nben_1.jpg,forest\n../x.jpg,out\nfmow_1.jpg,a\n"
    )
    read = read_all(RS5MMetafiles(folder=tmp_path / "csv"))
    assert [(row.source, row.source_id, row.captions, row.url, row.image, row.split) for row in rows_of(read)][:2] == [
        ("cc3m", "cc3m_1.jpg", ("aerial, view",), "https://a.org/1", None, "train"),
        ("bigearthnet", "ben_1.jpg", ("forest",), None, None, "validation"),
    ]
    assert reasons_of(read) == ["duplicate_id", "no_caption"]
    (tmp_path / "images" / "rs3" / "ben").mkdir(parents=True)
    (tmp_path / "images" / "rs3" / "ben" / "ben_1.jpg").write_bytes(b"B")
    (tmp_path / "images" / "cc3m_1.jpg").write_bytes(b"C")
    read = read_all(RS5MMetafiles(folder=tmp_path / "csv", images=tmp_path / "images"))
    assert [row.image for row in rows_of(read)] == [b"C", b"B"]
    assert reasons_of(read) == ["duplicate_id", "missing_image", "outside_source_folder", "missing_image"]
    (tmp_path / "csv" / "rs3_train.csv").write_text("caption,img_name\n")
    with pytest.raises(ValueError, match="has the columns caption, img_name; wanted img_name first"):
        RS5MMetafiles(folder=tmp_path / "csv").parts(1)


# RS3 from upstream ---------------------------------------------------------------------------------------------------

FMOW_JSON: dict[str, Any] = {
    "gsd": 2.0,
    "img_width": 100,
    "img_height": 80,
    "utm": "33T",
    "country_code": "ITA",
    "cloud_cover": 3,
    "timestamp": "2016-02-04T14:08:39Z",
    "scan_direction": "Forward",
    "target_azimuth_dbl": 314.3,
    "off_nadir_angle_dbl": 33.1,
    "bounding_boxes": [
        {
            "category": "airport",
            "ID": 0,
            "box": [10, 20, 30, 40],
            "raw_location": "POLYGON ((12 41, 13 41, 13 42, 12 42, 12 41))",
        }
    ],
}


def write_fmow(folder: Path, name: str, metadata: Any, image: bytes = b"JPEG") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image)
    if metadata is not None:
        path.with_suffix(".json").write_text(metadata if isinstance(metadata, str) else json.dumps(metadata))


def test_fmow_gives_images_with_the_facts_of_their_json(tmp_path: Path) -> None:
    for number in range(5):
        write_fmow(tmp_path, f"train/airport/airport_{number}/airport_{number}_0_rgb.jpg", FMOW_JSON, b"%d" % number)
        write_fmow(tmp_path, f"train/airport/airport_{number}/airport_{number}_0_msrgb.jpg", FMOW_JSON, b"ms")
    write_fmow(tmp_path, "val/airport/airport_0/airport_0_0_rgb.jpg", FMOW_JSON, b"val")
    whole = rows_of(read_all(FMoW(folder=tmp_path)))
    assert [row.image for row in whole] == [b"0", b"1", b"2", b"3", b"4"]
    assert whole[0] == SourceRow(
        source="fmow",
        source_id="train/airport/airport_0/airport_0_0_rgb",
        image=b"0",
        class_name="airport",
        attribution="Functional Map of the World, IARPA; imagery DigitalGlobe (Maxar)",
        split="train",
        metadata={
            "class_name": "airport",
            "latitude": 41.5,
            "longitude": 12.5,
            "timestamp": "2016-02-04T14:08:39+00:00",
            "ground_sample_distance_metres": 2.0,
            "utm_zone": whole[0].metadata["utm_zone"],
            "cloud_cover_percent": 3.0,
            "off_nadir_degrees": 33.1,
            "target_azimuth_degrees": 314.3,
            "scan_direction": "forward",
            "country": "Italy",
            "box": [10.0, 20.0, 30.0, 40.0],
            "image_width": 100,
            "image_height": 80,
        },
    )
    assert whole[0].metadata["utm_zone"].startswith("33")
    assert json.loads(json.dumps(whole[0].metadata)) == whole[0].metadata
    for rows_per_part in (1, 2, 4, 5, 6):
        assert rows_of(read_all(FMoW(folder=tmp_path), rows_per_part)) == whole
    assert len(rows_of(read_all(FMoW(folder=tmp_path, splits=("train", "val"), ending="_msrgb.jpg")))) == 5
    both = rows_of(read_all(FMoW(folder=tmp_path, splits=("train", "val"))))
    assert [(row.split, row.image) for row in both][-1] == ("validation", b"val")
    with pytest.raises(ValueError, match="must have splits out of train and val"):
        FMoW(folder=tmp_path, splits=("test",))


def test_fmow_refuses_by_name_what_cannot_be_read(tmp_path: Path) -> None:
    box = FMOW_JSON["bounding_boxes"][0]
    cases: list[tuple[Any, str]] = [
        (None, "missing_metadata"),
        ("{", "malformed_metadata"),
        ("[]", "malformed_metadata"),
        ({**FMOW_JSON, "img_width": "wide"}, "malformed_metadata"),
        ({**FMOW_JSON, "bounding_boxes": 7}, "malformed_metadata"),
        ({**FMOW_JSON, "bounding_boxes": []}, "no_box"),
        ({**FMOW_JSON, "bounding_boxes": [{**box, "category": "false_detection"}]}, "false_detection"),
        ({**FMOW_JSON, "bounding_boxes": [{**box, "box": [200, 0, 5, 5]}]}, "box_outside_image"),
        ({key: value for key, value in FMOW_JSON.items() if key != "img_width"}, "missing_field"),
    ]
    for number, (metadata, _) in enumerate(cases):
        write_fmow(tmp_path, f"train/a/a_{number}/a_{number}_0_rgb.jpg", metadata)
    write_fmow(tmp_path, "train/b/b_0/b_0_0_rgb.jpg", FMOW_JSON, b"")
    write_fmow(tmp_path, "train/b/b_0/b_0_1_rgb.jpg", FMOW_JSON)
    (tmp_path / "train/b/b_0/b_0_2_rgb.jpg").symlink_to("/etc/hostname")
    write_fmow(tmp_path, "train/c/c_0/c_0_0_rgb.jpg", FMOW_JSON)
    source = FMoW(folder=tmp_path)
    [part] = source.parts(100)
    (tmp_path / "train/b/b_0/b_0_1_rgb.jpg").unlink()
    read = list(source.read(part))
    assert reasons_of(read) == [
        *(reason for _, reason in cases),
        *("missing_image", "missing_image", "outside_source_folder"),
    ]
    assert len(rows_of(read)) == 1
    assert set(reasons_of(read)) <= set(fmow.REASONS)
    assert source.parts(100)[0].fingerprint != part.fingerprint


PATCH = "S2A_MSIL2A_20170613T101031_0_45"


def write_patch(folder: Path, patch: str, values: dict[str, Any], labels: Any = ("Pastures",)) -> None:
    (folder / patch).mkdir(parents=True)
    for band, value in values.items():
        pixels = np.full((120, 120), value, np.uint16) if not isinstance(value, np.ndarray) else value
        Image.fromarray(pixels).save(folder / patch / f"{patch}_{band}.tif")
    metadata = {
        "labels": list(labels),
        "coordinates": {"ulx": 500000, "uly": 5300040, "lrx": 501200, "lry": 5298840},
        "projection": 'PROJCS["WGS 84 / UTM zone 33N",AUTHORITY["EPSG","32633"]]',
        "tile_source": "S2A_MSIL1C.SAFE",
        "acquisition_date": "2017-06-13 10:10:31",
    }
    (folder / patch / f"{patch}_labels_metadata.json").write_text(json.dumps(metadata))


def test_reflectance_is_scaled_as_eurosat_was_published() -> None:
    values = np.array([0, 1, 5, 6, 1375, 2744, 2745, 2750, 2751, 65535], np.uint16)
    # 1 + 254 x / 2750, rounded: 6 is 1.55, 1375 is 128, 2744 is 254.45, 2745 is 254.54.
    assert reflectance_to_rgb(values).tolist() == [1, 1, 1, 2, 128, 254, 255, 255, 255, 255]


def test_bigearthnet_makes_rgb_of_the_bands_and_reads_the_labels(tmp_path: Path) -> None:
    ramp = np.arange(120 * 120, dtype=np.uint16).reshape(120, 120)
    write_patch(tmp_path, PATCH, {"B04": ramp, "B03": 1375, "B02": 0, "B08": 9})
    [row] = rows_of(read_all(BigEarthNet(folder=tmp_path)))
    assert row.image is not None
    with Image.open(io.BytesIO(row.image)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (120, 120))
        pixels = np.asarray(image)
    expected = np.minimum(255, np.floor(1.5 + ramp * (254 / 2750))).astype(np.uint8)
    assert (pixels[..., 0] == expected).all()
    assert (pixels[..., 1:] == (128, 1)).all()
    assert (row.source, row.source_id, row.license, row.split) == ("bigearthnet", PATCH, "CDLA-Permissive-1.0", None)
    assert row.metadata["labels"] == ["Pastures"]
    assert row.metadata["timestamp"] == "2017-06-13T10:10:31+00:00"
    assert row.metadata["utm_zone"].startswith("33")
    # The middle of the patch lies 600 m east of the central meridian of zone 33, at 15 degrees.
    assert row.metadata["longitude"] == pytest.approx(15 + 0.008, abs=5e-4)
    assert row.metadata["ground_sample_distance_metres"] == 10.0


def test_bigearthnet_refuses_listed_and_damaged_patches_by_name(tmp_path: Path) -> None:
    bands = {"B04": 1, "B03": 1, "B02": 1}
    names = [f"S2A_X_0_{number}" for number in range(10)]
    patches = tmp_path / "patches"
    for name in names:
        write_patch(patches, name, bands, labels=() if name == names[6] else ("Pastures",))
    (patches / names[0] / f"{names[0]}_B03.tif").unlink()
    Image.fromarray(np.zeros((60, 60), np.uint16)).save(patches / names[1] / f"{names[1]}_B03.tif")
    Image.fromarray(np.zeros((120, 120), np.uint8)).save(patches / names[2] / f"{names[2]}_B03.tif")
    (patches / names[3] / f"{names[3]}_B03.tif").write_bytes(b"II*\0 damaged")
    (patches / names[4] / f"{names[4]}_labels_metadata.json").unlink()
    (patches / names[5] / f"{names[5]}_labels_metadata.json").write_text("{")
    (tmp_path / "snow.csv").write_text(f"{names[7]}\n")
    (tmp_path / "cloud.csv").write_text(f"{names[8]}\r\n{names[7]}\r\n")
    (tmp_path / "train.csv").write_text("".join(f"{name},S1\n" for name in names[:9]))
    source = BigEarthNet(
        folder=patches,
        snow_list=tmp_path / "snow.csv",
        cloud_list=tmp_path / "cloud.csv",
        split_lists={"train": tmp_path / "train.csv"},
    )
    read = read_all(source)
    assert reasons_of(read) == [
        *("missing_image", "band_mismatch", "band_mismatch", "unreadable_image", "missing_metadata"),
        *("malformed_metadata", "missing_field", "cloud_or_shadow", "cloud_or_shadow", "in_no_split"),
    ]
    assert set(reasons_of(read)) <= set(bigearthnet.REASONS)
    for rows_per_part in (1, 3, 10):
        assert [type(one) for one in read_all(source, rows_per_part)] == [type(one) for one in read]
    snow = replace(source, cloud_list=None, split_lists={"test": tmp_path / "snow.csv"})
    read = read_all(snow)
    assert reasons_of(read) == [*["in_no_split"] * 7, "seasonal_snow", "in_no_split", "in_no_split"]
    assert snow.parts(10)[0].fingerprint != source.parts(10)[0].fingerprint
    (tmp_path / "val.csv").write_text(f"{names[0]}\n")
    both = {"train": tmp_path / "train.csv", "validation": tmp_path / "val.csv"}
    with pytest.raises(ValueError, match="is in the lists of train and of validation"):
        replace(source, split_lists=both).parts(10)
    (tmp_path / "val.csv").write_text("patch\n")
    with pytest.raises(ValueError, match="'patch', which is not the name of a Sentinel-2 patch"):
        read_patch_list(tmp_path / "val.csv")


def test_bigearthnet_takes_images_that_were_converted_already_as_they_are(tmp_path: Path) -> None:
    write_patch(tmp_path / "labels", PATCH, {})
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb" / f"{PATCH}.jpg").write_bytes(b"JPEG")
    (tmp_path / "rgb" / "327475.jpg").write_bytes(b"numbered")
    read = read_all(BigEarthNet(folder=tmp_path / "rgb", rgb=True))
    assert [(row.source_id, row.image, dict(row.metadata)) for row in rows_of(read)] == [
        ("327475", b"numbered", {}),
        (PATCH, b"JPEG", {}),
    ]
    read = read_all(BigEarthNet(folder=tmp_path / "rgb", rgb=True, labels=tmp_path / "labels"))
    assert reasons_of(read) == ["missing_metadata"]
    assert rows_of(read)[0].metadata["labels"] == ["Pastures"]
    with pytest.raises(ValueError, match=r"Set rgb=True or leave it out\."):
        BigEarthNet(folder=tmp_path, labels=tmp_path)
    with pytest.raises(ValueError, match="split_lists names val; splits are train, validation, test"):
        BigEarthNet(folder=tmp_path, split_lists={"val": tmp_path})


def test_million_aid_gives_the_images_of_its_test_set_without_captions_or_classes(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        (tmp_path / f"P000000{number}.jpg").write_bytes(b"%d" % number)
    (tmp_path / "P0000004.jpg").write_bytes(b"")
    (tmp_path / "readme.txt").write_text("no image")
    for rows_per_part in (1, 2, 3, 9):
        read = read_all(MillionAID(folder=tmp_path), rows_per_part)
        assert [(row.source_id, row.image, row.split, row.captions, row.class_name) for row in rows_of(read)] == [
            (f"P000000{number}.jpg", b"%d" % number, "test", (), None) for number in (1, 2, 3)
        ]
        assert reasons_of(read) == ["missing_image"]
    assert set(reasons_of(read)) <= set(million_aid.REASONS)
    with pytest.raises(ValueError, match="no image in"):
        MillionAID(folder=tmp_path, endings=(".gif",)).parts(1)
