"""SPICE by its own Java program, for users who have Java, the jar and the Stanford models; nothing is downloaded."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..intervals.cluster_bootstrap import Score, mean_score
from .meteor_java import SECONDS, java_program

MODELS = "stanford-corenlp-*-models.jar"


def spice_java_score(jar: Path, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """`spice`: the mean over rows of the F1 of scene-graph tuples, as coco-caption reports it.

    Args:
        jar: `spice-1.0.jar` with its `lib` folder, in which the Stanford CoreNLP models lie, beside it.
        candidates: One text a row.
        references: At least one text a row.
    """
    java = java_program()
    if not jar.is_file():
        raise FileNotFoundError(f"{jar} is not a file; give the path of spice-1.0.jar, or leave spice_jar out.")
    if not list((jar.parent / "lib").glob(MODELS)):
        raise FileNotFoundError(
            f"{jar.parent / 'lib'} holds no {MODELS}. SPICE needs the models of Stanford CoreNLP 3.6.0, which its "
            "get_stanford_models script fetches; put them there, or leave spice_jar out."
        )
    rows = [
        {"image_id": row, "test": said, "refs": list(of)}
        for row, (said, of) in enumerate(zip(candidates, references, strict=True))
    ]
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "asked.json", Path(folder) / "answered.json"
        asked.write_text(json.dumps(rows), encoding="utf-8")
        command = [java, "-Xmx8G", "-jar", str(jar.absolute()), str(asked), "-out", str(answered), "-silent"]
        done = subprocess.run(command, cwd=jar.parent, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode != 0 or not answered.is_file():
            raise RuntimeError(f"{jar} ended with exit code {done.returncode} and said: {done.stderr.strip()[-500:]}")
        scores = {item["image_id"]: item["scores"]["All"]["f"] for item in json.loads(answered.read_text("utf-8"))}
    if sorted(scores) != list(range(len(rows))):
        raise RuntimeError(f"{jar} scored {len(scores)} rows of {len(rows)}; wanted each once.")
    return mean_score("spice", [float(scores[row]) for row in range(len(rows))])
