"""METEOR 1.5 by its own Java program, for users who have Java and the jar; nothing is downloaded.

The program aligns; the score is computed here from its counts with the published parameters for English, so that it
can be resampled. Options are those of coco-caption: English, normalised text, all four stages.
"""

import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..intervals.cluster_bootstrap import Score
from .bleu import Tokens
from .meteor import MeteorParameters, meteor, row_counts

ENGLISH = MeteorParameters(alpha=0.85, beta=0.2, gamma=0.6)
DELTA = 0.75  # weight of content words; function words weigh 1 - DELTA
STAGE_WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # exact, stem, synonym, paraphrase
STATISTICS = 23
SECONDS = 3600


def java_program() -> str:
    """The path of `java`.

    Raises:
        FileNotFoundError: There is none.
    """
    path = shutil.which("java")
    if path is None:
        raise FileNotFoundError(
            "METEOR 1.5 and SPICE run on Java, and no `java` is on the PATH. Install a Java runtime (8 or later), or "
            "leave the jars out of the configuration; meteor_exact_stem needs no Java."
        )
    return path


def meteor_java_score(jar: Path, candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
    """`meteor` over a corpus, as coco-caption reports it.

    Args:
        jar: `meteor-1.5.jar` with `data/paraphrase-en.gz` beside it, as pycocoevalcap and the METEOR site ship them.
        candidates: One token list a row.
        references: At least one token list a row.
    """
    java = java_program()
    if not jar.is_file():
        raise FileNotFoundError(f"{jar} is not a file; give the path of meteor-1.5.jar, or leave meteor_jar out.")
    lines = "".join(
        " ||| ".join(("SCORE", *(_text(one) for one in of), _text(said))) + "\n"
        for said, of in zip(candidates, references, strict=True)
    )
    command = [java, "-Xmx2G", "-jar", str(jar.absolute()), "-", "-", "-stdio", "-l", "en", "-norm"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=SECONDS, check=False)
    answers = [line.split() for line in done.stdout.splitlines()]
    wrong = [line for line in answers if len(line) != STATISTICS]
    if done.returncode != 0 or len(answers) != len(candidates) or wrong:
        raise RuntimeError(
            f"{jar} answered {len(answers)} lines for {len(candidates)} rows, exit code {done.returncode}; wanted one "
            f"line of {STATISTICS} numbers each. It said: {done.stderr.strip()[-500:] or str(wrong[:1])}"
        )
    columns = np.array([_columns([float(number) for number in line]) for line in answers], dtype=np.float64)
    return Score(name="meteor", columns=columns, statistic=partial(meteor, parameters=ENGLISH), n=len(columns))


def _text(tokens: Tokens) -> str:
    return " ".join(tokens).replace("|||", "").replace("  ", " ")


def _columns(numbers: list[float]) -> list[float]:
    """The program's counts as `meteor` takes them.

    It prints words and function words of both texts (candidate, reference, candidate, reference), for each stage the
    matched content and function words (content of both, function of both), then chunks and all matched words of both.
    """
    own_size, other_size, own_function, other_function = numbers[:4]
    stages = np.array(numbers[4:20]).reshape(4, 4)  # content of candidate, of reference, function of both
    chunks, own_words, other_words = numbers[20:]
    weights = np.array(STAGE_WEIGHTS)
    own = float(weights @ (DELTA * stages[:, 0] + (1 - DELTA) * stages[:, 2]))
    other = float(weights @ (DELTA * stages[:, 1] + (1 - DELTA) * stages[:, 3]))
    return row_counts(
        matches=(own, other),
        lengths=(_length(own_size, own_function), _length(other_size, other_function)),
        words=(own_words, other_words),
        chunks=chunks,
        whole=(own_words, other_words, chunks) == (own_size, other_size, 1),
    )


def _length(words: float, function_words: float) -> float:
    return DELTA * (words - function_words) + (1 - DELTA) * function_words
