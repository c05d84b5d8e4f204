"""What docs/datasets.md says: its command runs, its options exist, its reasons and sources are those of the code."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from dataset_scripts.build_fusionrs import FusionRSConfig
from dataset_scripts.build_rs5m import RS5MConfig
from dataset_scripts.source_options import SOURCE_NAMES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "datasets.md").read_text()


def section(title: str) -> str:
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def write_photos(folder: Path) -> None:
    """Six scenes of a user, with the near infrared beside them."""
    generator = np.random.default_rng(0)
    for kind in ("photos", "infrared"):
        (folder / kind).mkdir()
    rows = []
    for number in range(6):
        coarse = generator.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((96, 96)).save(folder / "photos" / f"field {number}.png")
        infrared = (np.asarray(Image.fromarray(coarse[..., 0]).resize((96, 96))).astype(np.uint16) + 1) * 200
        Image.fromarray(infrared).save(folder / "infrared" / f"field {number}.png")
        rows.append({"file_name": f"field {number}.png", "captions": [f"A field with {number + 2} trees."]})
    (folder / "photos" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_commands_for_images_of_ones_own_run(tmp_path: Path) -> None:
    write_photos(tmp_path)
    block = re.search(r"^```bash\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert block is not None
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    for line in block[1].replace("\\\n", " ").splitlines():
        smaller = ["--workers", "1"] if " build " in line else []
        subprocess.run([*shlex.split(line), *smaller], check=True, cwd=tmp_path, env=environment)
    rows = [
        row for path in (tmp_path / "fusionrs" / "data").glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert sorted(row["captions"][0] for row in rows) == [f"A field with {number} trees." for number in range(2, 8)]
    assert {(row["license"], row["infrared_origin"], row["infrared_band"]) for row in rows} == {
        ("CC-BY-4.0", "sensor", "nir")
    }
    assert all("infrared" in row["infrared_captions"][0].lower() for row in rows)


def test_every_source_on_the_page_has_an_adapter_and_every_adapter_is_on_the_page() -> None:
    named = re.findall(r"`([a-z0-9_]+):?`", section("Sources"))
    assert set(named) - {"--source"} == set(SOURCE_NAMES)


def test_every_reason_on_the_page_is_one_of_the_code() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "dataset_scripts").rglob("*.py"))
    reasons = {
        reason
        for line in section("What happens to a row").splitlines()
        if line.startswith("| ")
        for reason in re.findall(r"`([a-z0-9_]+)`", line.split(" | ")[-1])
    }
    assert len(reasons) > 20
    assert {reason for reason in reasons if f'"{reason}"' not in code} == set()


def test_options_on_the_page_exist() -> None:
    texts = []
    for kind in (FusionRSConfig, RS5MConfig):
        process = subprocess.run(
            [
                sys.executable,
                "-m",
                "dataset_scripts",
                "build",
                "fusionrs" if kind is FusionRSConfig else "rs5m",
                "--help",
            ],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        texts.append(process.stdout)
    options = set(re.findall(r"(--[a-z][a-z.-]+[a-z])", PAGE)) - {"--help"}
    assert {option for option in options if not any(option in text for text in texts)} == set()
