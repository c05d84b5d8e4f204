"""The dataset card: what `load_dataset` reads from it, the numbers it shows, and that no text of others is markup."""

import copy
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from datasets import Features, Value, load_dataset
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt
from written_shards import write_shards

from dataset_scripts.dataset_card import hub_license, render_card, shards_of
from dataset_scripts.markdown_escape import escape, one_line

FEATURES = Features({"id": Value("string")})
ROWS = {("data", "train"): 5, ("data", "test"): 2, ("local", "train"): 3, ("local", "validation"): 1}
INDEX_ROWS = {"train": 8, "validation": 1, "test": 2}


def make_manifest(shards: list[dict[str, Any]], dataset: str = "fusionrs") -> dict[str, Any]:
    return {
        "dataset": dataset,
        "config": {"salt": "s"},
        "sources": [
            {
                "name": "skyscript",
                "license": "US-PD",
                "caption_license": "ODbL-1.0",
                "attribution": "USDA NAIP; OpenStreetMap contributors",
                "citation": "arXiv:2312.12856",
                "rows": 6,
            },
            {
                "name": "nwpu",
                "license": "CC-BY-NC-4.0",
                "caption_license": "unknown",
                "attribution": "NWPU",
                "citation": "",
                "rows": 5,
            },
        ],
        "stages": [
            {
                "stage": "decode_check",
                "rows_in": 14,
                "rows_out": 11,
                "rejected": {"bomb": 1, "truncated": 2},
                "rejected_sample": [{"detail": "a caption that must not go out"}],
            }
        ],
        "splits": {
            "train": {"rows": 8, "leak_groups": 4},
            "validation": {"rows": 1, "leak_groups": 1},
            "test": {"rows": 2, "leak_groups": 2},
        },
        "shards": shards,
        "audit": {"splits": {"train": {"mean_group_rows": 2.125}}},
        "code_revision": "abc123",
        "versions": {"python": "3.11.7", "numpy": "2.4.6"},
    }


def write_folder(folder: Path, *, prefix: str = "row", rows: dict[tuple[str, str], int] = ROWS) -> dict[str, Any]:
    shards = []
    everything = {**rows, **{("index", split): number for split, number in INDEX_ROWS.items()}}
    for (place, split), number in everything.items():
        shards += write_shards(
            ({"id": f"{prefix}:{place}:{split}:{n}"} for n in range(number)),
            folder / place,
            split=split,
            row_count=number,
            rows_per_shard=2,
            features=FEATURES,
        )
    return make_manifest(shards)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_folder(tmp_path_factory.mktemp("card") / "fusionrs")


def front_matter(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def configs_of(card: str) -> dict[str, dict[str, list[str]]]:
    return {
        config["config_name"]: {files["split"]: files["path"] for files in config["data_files"]}
        for config in front_matter(card)["configs"]
    }


def section(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n\n")[1].split("\n\n## ")[0]


def bytes_of(manifest: dict[str, Any], split: str) -> int:
    shards = [shard for shard in manifest["shards"] if not shard["file"].startswith("index/")]
    return sum(shard["bytes"] for shard in shards if shard["split"] == split)


def test_the_metadata_are_these(manifest: dict[str, Any]) -> None:
    metadata = front_matter(render_card(manifest, folder="fusionrs", public=False))
    configs, infos = metadata.pop("configs"), metadata.pop("dataset_info")
    assert metadata == {
        "license": "other",
        "license_name": "per-row",
        "license_link": "README.md#sources",
        "pretty_name": "FusionRS",
        "language": ["en"],
        "size_categories": ["n<1K"],
        "task_categories": [
            "image-to-text",
            "zero-shot-image-classification",
            "text-to-image",
            "image-to-image",
        ],
        "source_datasets": ["extended|nwpu", "extended|skyscript"],
        "tags": ["remote sensing", "geospatial", "infrared", "image-text retrieval", "CLIP"],
    }
    assert [config["config_name"] for config in configs if config.get("default")] == ["default"]
    assert infos[0]["splits"] == [
        {"name": "train", "num_bytes": bytes_of(manifest, "train"), "num_examples": 8},
        {"name": "validation", "num_bytes": bytes_of(manifest, "validation"), "num_examples": 1},
        {"name": "test", "num_bytes": bytes_of(manifest, "test"), "num_examples": 2},
    ]
    assert infos[0]["download_size"] == sum(
        shard["bytes"] for shard in manifest["shards"] if not shard["file"].startswith("index")
    )


def test_the_public_card_does_not_know_of_the_local_folder(manifest: dict[str, Any]) -> None:
    local = render_card(manifest, folder="fusionrs", public=False)
    assert configs_of(local)["default"] == {
        "train": ["data/train-*.parquet", "local/train-*.parquet"],
        "validation": ["local/validation-*.parquet"],
        "test": ["data/test-*.parquet"],
    }
    public = render_card(manifest, folder="ORG/fusionrs", public=True)
    assert configs_of(public)["default"] == {"train": ["data/train-*.parquet"], "test": ["data/test-*.parquet"]}
    assert configs_of(public)["index"] == {split: [f"index/{split}-*.parquet"] for split in INDEX_ROWS}
    assert "local" not in public.split("\n## ")[0]
    assert "Images and captions of 4 rows may not be handed on" in section(public, "What is not here, and why")
    assert "must not leave this machine" not in public
    assert "**which must not leave this machine**" in section(local, "What is not here, and why")
    assert "7 pairs of an RGB and an infrared image" in public
    assert "; an index names 4 more" in public
    assert {shard["file"].split("/")[0] for shard in shards_of(manifest, public=True)} == {"data", "index"}


def test_load_dataset_reads_the_rows_that_the_card_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "fusionrs"
    own = write_folder(folder)
    cache = str(tmp_path / "cache")
    for public, counts in ((False, {"train": 8, "validation": 1, "test": 2}), (True, {"train": 5, "test": 2})):
        (folder / "README.md").write_text(render_card(own, folder="fusionrs", public=public))
        loaded = load_dataset(str(folder), cache_dir=cache)
        assert {split: len(rows) for split, rows in loaded.items()} == counts
        places = {row["id"].split(":")[1] for rows in loaded.values() for row in rows}
        assert places == ({"data"} if public else {"data", "local"})
        index = load_dataset(str(folder), "index", cache_dir=cache)
        assert {split: len(rows) for split, rows in index.items()} == INDEX_ROWS
    # The row counts of the card are checked: a shard that is lost is noticed.
    (folder / "data" / "train-00000-of-00003.parquet").unlink()
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        load_dataset(str(folder), cache_dir=str(tmp_path / "fresh"))


def test_another_folder_of_the_same_name_is_not_taken_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` caches a folder under its name and card only."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    sizes = []
    for prefix in ("one", "two"):
        folder = tmp_path / prefix / "fusionrs"
        (folder.parent).mkdir()
        card = render_card(write_folder(folder, prefix=prefix), folder="fusionrs", public=False)
        (folder / "README.md").write_text(card)
        loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
        assert {row["id"].split(":")[0] for rows in loaded.values() for row in rows} == {prefix}
        sizes.append(
            [[split["num_examples"] for split in info["splits"]] for info in front_matter(card)["dataset_info"]]
        )
    assert sizes[0] == sizes[1]


def test_where_nothing_may_go_out_the_public_card_offers_the_index(manifest: dict[str, Any]) -> None:
    own = {**manifest, "shards": [s for s in manifest["shards"] if not s["file"].startswith("data/")]}
    card = render_card(own, folder="ORG/fusionrs", public=True)
    configs = front_matter(card)["configs"]
    assert [(config["config_name"], config.get("default")) for config in configs] == [("index", True)]
    assert 'rows_without_images = load_dataset("ORG/fusionrs")' in card
    assert "An index, without images, of 11 pairs" in card


def test_where_all_may_go_out_nothing_is_withheld(manifest: dict[str, Any]) -> None:
    own = {**manifest, "shards": [s for s in manifest["shards"] if not s["file"].startswith("local/")]}
    text = section(render_card(own, folder="f", public=True), "What is not here, and why")
    assert text == "Nothing: the licences of all 7 rows with images permit handing them on."


def test_the_tables_show_the_numbers_of_the_manifest(manifest: dict[str, Any]) -> None:
    card = render_card(manifest, folder="fusionrs", public=True)
    assert section(card, "How the rows were chosen").splitlines() == [
        "| stage | rows in | rows out | rejected |",
        "|---|---|---|---|",
        r"| decode\_check | 14 | 11 | bomb 1, truncated 2 |",
    ]
    assert section(card, "Splits").splitlines()[2:5] == [
        "| train | 8 | 5 | 8 | 4 | 2.12 |",
        "| validation | 1 | 0 | 1 | 1 | 1.00 |",
        "| test | 2 | 2 | 2 | 2 | 1.00 |",
    ]
    assert section(card, "Sources").splitlines()[2:] == [
        "| skyscript | 6 | US-PD | ODbL-1.0 | images, derived infrared, captions |",
        "| nwpu | 5 | CC-BY-NC-4.0 | unknown | images, derived infrared; not for commercial use |",
        "",
        "- **skyscript**: USDA NAIP; OpenStreetMap contributors arXiv:2312.12856",
        "- **nwpu**: NWPU",
    ]
    assert "**Not for commercial use**: rows of nwpu have a licence that forbids it." in card
    assert "Code revision abc123; python 3.11.7, numpy 2.4.6." in card


def test_the_card_says_that_infrared_is_no_temperature_and_how_to_have_a_row_removed(manifest: dict[str, Any]) -> None:
    card = render_card(manifest, folder="f", public=True, contact="data@example.org")
    assert "**No infrared image here is a temperature.**" in card
    assert "Write to data@example.org and name the `id`" in card
    rs5m = render_card({**manifest, "dataset": "rs5m"}, folder="f", public=True)
    assert "infrared_origin" not in rs5m
    assert "remote-sensing images with captions" in rs5m
    assert "## Removal" in rs5m


def test_rejected_rows_are_counted_but_never_shown(manifest: dict[str, Any]) -> None:
    assert "must not go out" not in render_card(manifest, folder="f", public=True)


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        (["CC-BY-4.0", "cc-by-4.0"], "cc-by-4.0"),
        (["Apache-2.0"], "apache-2.0"),
        (["ODbL-1.0"], "odbl"),
        (["CC-BY-NC-SA-4.0"], "cc-by-nc-sa-4.0"),
        (["unknown"], "unknown"),
        (["CC-BY-4.0", "MIT"], "other"),
        (["images US-PD; captions ODbL-1.0"], "other"),
        (["OGL-UK-3.0"], "other"),
        (["mit\nmit"], "other"),
        ([], "other"),
    ],
)
def test_the_licence_of_the_card_is_that_of_all_rows_or_other(licenses: list[str], expected: str) -> None:
    assert hub_license(licenses) == expected


def hostile_strings() -> list[str]:
    fixed = [
        "---", "\n---\n", "a\n---\nlicense: mit\n---\n", "\r\n---\r\n", "\u2028---\u2028", "\x85---\x85",
        "...", "--- |",
        "|", "a | b | c |\n|---|---|", "\\|", "\\\\|", "`|`", "```", "\n```\n# title\n", "~~~", "# head", "\n# head",
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;script&gt;", "&#60;script&#62;",
        "<!--", "-->",
        "!!python/object/apply:os.system ['id']", "!!binary aGk=", "*alias", "&anchor", "%YAML 1.1", "? key", "- item",
        "{a: b}", "[a, b]", "key: value", "'", '"', '"""', "\\", "\\n", "{0}", "{title}", "{{x}}", "%s", "$x$", "$$",
        "null", "true", "~", "1e3", "0x10", "2024-01-01", "=", "<<", "", " ", "\t", "\0", "\x1b[31m", "\x7f", "\ufeff",
        "\ud800", "\udfff", "\U0001f6f0", "\u202egnp", "\u200b", "e\u0301", "[x](javascript:alert(1))",
        "![x](y)", "[x]: y",
        "<https://e.com>", "*bold*", "__bold__", "~~gone~~", "1. one", "> quote", "* * *", "===",
        "    code", "\n\n    c",
        "a" * 5000, "|" * 300, "configs:\n- config_name: x", "license: mit", "${HOME}", "`id`", "@everyone", "\\u0041",
    ]  # fmt: skip
    random.seed(0)
    letters = [*"-|`<>&\\*_[]{}#\n\r\t :!'\"~$%@", "\u2028", "\ud83d", "\x00", "---\n", "</td>", "!!"]
    return fixed + ["".join(random.choices(letters, k=random.randint(1, 40))) for _ in range(60)]


def structure(card: str) -> list[tuple[str, int]]:
    """The blocks of the body, and the kinds of marks in their lines, as a Markdown reader sees them."""
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(card.split("\n---\n", 1)[1])
    kinds = []
    for token in tokens:
        kinds.append((token.type, token.level))
        inline = [child.type for child in token.children or [] if child.type not in ("text", "text_special")]
        kinds += [(kind, -1) for kind in inline]
    return kinds


def cells(card: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(card.split("\n---\n", 1)[1])
    shown = []
    for before, token in pairwise(tokens):
        if before.type == "td_open":
            shown.append("".join(child.content for child in token.children or []))
    return shown


@pytest.mark.parametrize("hostile", hostile_strings())
def test_no_text_of_others_changes_the_metadata_or_the_structure(manifest: dict[str, Any], hostile: str) -> None:
    harmless = copy.deepcopy(manifest)
    harmless["sources"][0] |= {"name": "x", "license": "x", "caption_license": "x", "attribution": "x", "citation": "x"}
    harmless["stages"][0] |= {"stage": "x", "rejected": {"x": 1}}
    harmless |= {"code_revision": "x", "versions": {"x": "x"}}
    text = f"x{hostile}"
    own = copy.deepcopy(harmless)
    own["sources"][0] = {**own["sources"][0], **dict.fromkeys(("name", "license", "attribution", "citation"), text)}
    own["sources"][0]["caption_license"] = text
    own["stages"][0] |= {"stage": text, "rejected": {text: 1}}
    own |= {"code_revision": text, "versions": {text: text}}
    cards = [
        render_card(manifest, folder=name, contact=name, title=name, public=False)
        for manifest, name in ((harmless, "x"), (own, text))
    ]
    for read in (front_matter, lambda card: DatasetCard(card).data.to_dict()):
        expected, found = (read(card) for card in cards)
        assert found.pop("source_datasets")[-1].startswith("extended|x")
        assert found.pop("pretty_name").startswith("x")
        expected.pop("source_datasets")
        expected.pop("pretty_name")
        assert found == expected
    assert structure(cards[1]) == structure(cards[0])
    assert one_line(text) in cells(cards[1])
    cards[1].encode("utf-8")
    assert "<script" not in cards[1]
    assert "<img" not in cards[1]
    compile(cards[1].split("```python\n")[1].split("\n```")[0], "card", "exec")


def test_escaped_text_is_one_line_and_names_what_it_named() -> None:
    assert escape("a|b_c*<d>\n&\u202e\x00e") == r"a\|b\_c\*&lt;d&gt; &amp; e"
    assert one_line("  a\r\n\tb\u2028c ") == "a b c"


def test_a_manifest_that_cannot_be_judged_is_refused(manifest: dict[str, Any]) -> None:
    shard = {"file": "private/train-00000-of-00001.parquet", "split": "train", "rows": 1, "bytes": 1, "sha256": "0"}
    with pytest.raises(ValueError, match=r"shard 'private/train-.*is neither in data/, local/ nor index/"):
        render_card({**manifest, "shards": [shard]}, folder="f", public=True)
    with pytest.raises(ValueError, match="of split 'dev' is neither"):
        render_card({**manifest, "shards": [{**shard, "file": "data/x", "split": "dev"}]}, folder="f", public=True)
    with pytest.raises(ValueError, match="the manifest has no shards to describe"):
        render_card({**manifest, "shards": [{**shard, "file": "local/x"}]}, folder="f", public=True)
    with pytest.raises(ValueError, match="dataset is 'coco'; there are cards for fusionrs, rs5m"):
        render_card({**manifest, "dataset": "coco"}, folder="f", public=True)
