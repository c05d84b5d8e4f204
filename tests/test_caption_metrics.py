"""Caption metrics against numbers that coco-caption gave for the same captions, and cases written by hand."""

import json
import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.captions.bleu import bleu_scores
from evaluation.captions.cider import cider_rows
from evaluation.captions.english_stem import english_stem
from evaluation.captions.fusionrs_score import lexical_f1, rouge_l_f1
from evaluation.captions.meteor import align, meteor_exact_stem_score
from evaluation.captions.meteor_java import meteor_java_score
from evaluation.captions.metrics import CaptionScoring, run_captioning
from evaluation.captions.references import ReferenceSource, read_references
from evaluation.captions.rouge import longest_common_subsequence, rouge_l
from evaluation.captions.spice_java import spice_java_score
from evaluation.captions.tokens import caption_tokens
from evaluation.intervals.cluster_bootstrap import Score, differences
from evaluation.predictions import PredictionFile

CAPTIONS = [
    "Two white planes are parked near the terminal.",
    "a river",
    "many green trees are on both sides of a curved river with a bridge",
    "There are several buildings, and a parking lot with cars; it isn't full.",
    "the the the playgrounds are near the the playground",
    "A storage tank is near some buildings",
]
REFERENCES = [
    [
        "Two planes are parked next to the terminal.",
        "Several white planes are parked near a terminal building.",
    ],
    ["A curved river runs through the green forest.", "the river is green", "many trees are near a river"],
    [
        "many green trees are in two sides of a curved river",
        "A bridge is over a curved river with many green trees on both sides.",
    ],
    [
        "Several buildings stand beside a parking lot (half full) with 12 cars.",
        "There is a parking lot near several buildings.",
    ],
    ["A playground is near some buildings.", "two playgrounds are surrounded by green trees"],
    ["A storage tank is near some buildings", "Some storage tanks are near a factory"],
]
TOKENS = [caption_tokens(text) for text in CAPTIONS]
REFERENCE_TOKENS = [[caption_tokens(text) for text in texts] for texts in REFERENCES]

# What pycocoevalcap 1.2 gave for the captions above, on the tokens of its Java tokenizer: corpus, then rows.
COCO_BLEU = [0.833333333302, 0.684653196855, 0.5631239402, 0.468708211539]
COCO_BLEU_ROWS = [
    [0.99999999975, 0.367879440804, 0.999999999857, 0.714285714184, 0.444444444395, 0.999999999714],
    [0.84515425451, 0.367879440712, 0.919866210874, 0.405998971411, 0.235702260368, 0.999999999702],
    [0.709491705794, 0.003678794408, 0.790294043919, 0.239491189017, 1.994695e-06, 0.999999999687],
    [0.614788152777, 0.000367879441, 0.650891137395, 3.3428661e-05, 6.031e-09, 0.999999999667],
]
COCO_ROUGE = [0.75, 0.458646616541, 0.735924932976, 0.5, 0.255765199161, 1.0]
COCO_CIDER = [4.343561773271, 1.473768098132, 4.342925451293, 1.81824271549, 0.594754369017, 5.589232366689]
COCO_METEOR = 0.422543549751
COCO_METEOR_ROWS = [0.473098202161, 0.162162162162, 0.544007118387, 0.353841392065, 0.237875654983, 1.0]
# The counts that meteor-1.5.jar printed for them: `-l en -norm`.
JAVA_COUNTS = """\
8 8 3 4 3 3 3 3 0 0 0 0 0 0 0 0 1 1 0 1 2 7 8
2 4 1 2 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1
14 11 6 5 5 5 2 2 0 0 0 0 0 0 0 0 2 1 2 3 1 11 11
15 8 8 3 4 4 3 3 0 0 0 0 0 0 0 0 0 0 0 0 4 7 7
9 6 6 3 1 1 0 0 0 0 0 0 0 0 1 1 1 1 1 1 2 4 4
7 7 3 3 4 4 3 3 0 0 0 0 0 0 0 0 0 0 0 0 1 7 7
"""
# meteor-1.5.jar with `-m "exact stem" -w "1.0 1.0" -p "0.9 3.0 0.5 0.5" -lower`: corpus, then rows.
EXACT_STEM = 0.697468094748
EXACT_STEM_ROWS = [0.703125, 0.334821428571, 0.84126984127, 0.738016136687, 0.260416666667, 1.0]


def of_corpus(score: Score) -> float:
    return float(score.statistic(score.columns.sum(axis=0, keepdims=True))[0])


def of_rows(score: Score) -> list[float]:
    return [float(value) for value in score.statistic(score.columns)]


# Tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [  # as stanford-corenlp-3.4.1 with -lowerCase, then without coco-caption's punctuation list
        (
            "There aren't (many) planes; it's 1,000 ft. long, at 10:30 a.m.",
            "there are n't -lrb- many -rrb- planes it 's 1,000 ft. long at 10:30 a.m.",
        ),
        ("He said \"go\" and the boats' wake, the ship's bow.", "he said go and the boats wake the ship 's bow"),
        ("I cannot see; it can't, won't, they've", "i can not see it ca n't wo n't they 've"),
        ("U.S. base no. 5, Mr. Smith etc. and e.g. this", "u.s. base no. 5 mr. smith etc. and e.g. this"),
        ("50% of #3 at $5, 2/3 and/or 10-15 m²", "50 % of # 3 at $ 5 2/3 and/or 10-15 m ²"),
        ("well-known T-shirt -- dash - x – y ... … end", "well-known t-shirt dash x y end"),
        ("zone a. The group b. is in the v. shape", "zone a the group b. is in the v. shape"),
        ("5,000m 3.5km 5x5 1st 2020.", "5,000 m 3.5 km 5x5 1st 2020"),
        ("“quoted” ‘single’ café ½ [x]", "quoted single café 1/2 -lsb- x -rsb-"),
        (" .,;:!? \n ", ""),
    ],
)
def test_tokens_are_those_of_the_java_tokenizer(text: str, tokens: str) -> None:
    assert caption_tokens(text) == tokens.split()


# Metrics


def test_bleu_equals_coco_caption_for_the_corpus_and_for_rows() -> None:
    scores = bleu_scores(TOKENS, REFERENCE_TOKENS)
    assert [of_corpus(score) for score in scores] == pytest.approx(COCO_BLEU, abs=1e-9)
    for score, rows in zip(scores, COCO_BLEU_ROWS, strict=True):
        assert of_rows(score) == pytest.approx(rows, abs=1e-9)


def test_a_missing_caption_costs_brevity_and_earns_nothing() -> None:
    tokens = ["two", "white", "planes", "stand"]
    (score, *_) = bleu_scores([tokens, []], [[tokens], [["a", "b", "c", "d"], ["a", "b"]]])
    assert of_corpus(score) == pytest.approx(math.exp(1 - 6 / 4))  # the shorter reference is the closer one


def test_rouge_l_equals_coco_caption() -> None:
    rows = [rouge_l(said, of) for said, of in zip(TOKENS, REFERENCE_TOKENS, strict=True)]
    assert rows == pytest.approx(COCO_ROUGE, abs=1e-9)
    assert rouge_l([], REFERENCE_TOKENS[0]) == 0.0


def test_the_longest_common_subsequence_equals_the_table() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        one, two = ([str(word) for word in generator.integers(4, size=generator.integers(1, 90))] for _ in range(2))
        table = np.zeros((len(one) + 1, len(two) + 1), dtype=int)
        for i, a in enumerate(one):
            for j, b in enumerate(two):
                table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
        assert longest_common_subsequence(one, two) == table[-1, -1]


def test_cider_d_equals_what_coco_caption_calls_cider() -> None:
    assert cider_rows(TOKENS, REFERENCE_TOKENS)[1] == pytest.approx(COCO_CIDER, abs=1e-9)


def test_cider_is_the_mean_cosine_of_tf_idf_vectors() -> None:
    def vector(tokens: list[str], n: int, idf: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
        counts = Counter(tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1))
        return {gram: count * idf.get(gram, math.log(len(TOKENS))) for gram, count in counts.items()}

    def cosine(one: dict[tuple[str, ...], float], two: dict[tuple[str, ...], float]) -> float:
        norms = math.hypot(*one.values()) * math.hypot(*two.values())
        return sum(weight * two.get(gram, 0) for gram, weight in one.items()) / norms if norms else 0.0

    expected = np.zeros(len(TOKENS))
    for n in range(1, 5):
        holders: Counter[tuple[str, ...]] = Counter()
        for texts in REFERENCE_TOKENS:
            holders.update({tuple(text[at : at + n]) for text in texts for at in range(len(text) - n + 1)})
        idf = {gram: math.log(len(TOKENS) / count) for gram, count in holders.items()}
        for row, (said, texts) in enumerate(zip(TOKENS, REFERENCE_TOKENS, strict=True)):
            cosines = [cosine(vector(said, n, idf), vector(text, n, idf)) for text in texts]
            expected[row] += 10 * np.mean(cosines) / 4
    assert cider_rows(TOKENS, REFERENCE_TOKENS)[0] == pytest.approx(expected.tolist(), abs=1e-9)


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        *(("caresses", "caress"), ("ties", "tie"), ("cries", "cri"), ("gas", "gas"), ("kiwis", "kiwi")),
        *(("agreed", "agre"), ("feed", "feed"), ("hopping", "hop"), ("hoping", "hope"), ("luxuriated", "luxuri")),
        *(("happy", "happi"), ("by", "by"), ("say", "say"), ("news", "news"), ("generously", "generous")),
        *(("vietnamization", "vietnam"), ("electrical", "electr"), ("replacement", "replac"), ("adoption", "adopt")),
        *(("controlling", "control"), ("rate", "rate"), ("buildings", "build"), ("crossroads", "crossroad")),
        *(("succeed", "succeed"), ("inning", "inning"), ("quickly", "quick"), ("youth", "youth"), ("dying", "die")),
        *(("it's", "it"), ("sensibility", "sensibl"), ("relational", "relat"), ("triplicate", "triplic"), ("as", "as")),
    ],
)
def test_stems_are_those_of_snowball(word: str, stem: str) -> None:
    assert english_stem(word) == stem


def test_meteor_exact_stem_equals_the_java_program_with_the_same_stages_and_parameters() -> None:
    score = meteor_exact_stem_score(TOKENS, REFERENCE_TOKENS)
    assert of_rows(score) == pytest.approx(EXACT_STEM_ROWS, abs=1e-9)
    assert of_corpus(score) == pytest.approx(EXACT_STEM, abs=1e-9)


def test_an_alignment_matches_most_words_in_fewest_chunks() -> None:
    # Greedy matching of "the" from the left would tear "the lake" apart.
    assert align(["the", "lake"], ["the", "road", "by", "the", "lake"]) == (2, 1)
    assert align(["planes", "parked"], ["a", "plane", "is", "parking"]) == (2, 2)
    assert align([], ["a"]) == (0, 0)
    assert align(["a"] * 60, ["a"] * 70) == (60, 1)


def fake_java(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    program = folder / "java"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    jar = folder / "some.jar"
    jar.touch()
    return jar


def test_meteor_of_the_java_programs_counts_equals_the_java_programs_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counts").write_text(JAVA_COUNTS)
    jar = fake_java(tmp_path, monkeypatch, f"cat > {tmp_path}/asked; cat {tmp_path}/counts")
    score = meteor_java_score(jar, TOKENS, REFERENCE_TOKENS)
    assert of_rows(score) == pytest.approx(COCO_METEOR_ROWS, abs=1e-9)
    assert of_corpus(score) == pytest.approx(COCO_METEOR, abs=1e-9)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[1] == (
        "SCORE ||| a curved river runs through the green forest ||| the river is green ||| "
        "many trees are near a river ||| a river"
    )


def test_a_java_program_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = fake_java(tmp_path, monkeypatch, "cat > /dev/null; echo no paraphrases >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"answered 0 lines for 6 rows, exit code 3.*no paraphrases"):
        meteor_java_score(jar, TOKENS, REFERENCE_TOKENS)


def test_without_java_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no `java` is on the PATH.*meteor_exact_stem needs no Java"):
        meteor_java_score(tmp_path / "meteor.jar", TOKENS, REFERENCE_TOKENS)


def test_spice_asks_for_its_models_and_reads_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # java -Xmx8G -jar JAR ASKED -out ANSWERED -silent
    answer = json.dumps([{"image_id": row, "scores": {"All": {"f": row / 2}}} for row in range(2)])
    jar = fake_java(tmp_path, monkeypatch, f"echo '{answer}' > \"$6\"")
    with pytest.raises(FileNotFoundError, match=r"holds no stanford-corenlp-\*-models.jar"):
        spice_java_score(jar, ["a", "b"], [["a"], ["b"]])
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "stanford-corenlp-3.6.0-models.jar").touch()
    assert of_rows(spice_java_score(jar, ["a", "b"], [["a"], ["b"]])) == [0.0, 0.5]
    with pytest.raises(RuntimeError, match="scored 2 rows of 1"):
        spice_java_score(jar, ["a"], [["a"]])


# The FusionRS caption score


def test_the_fusionrs_score_of_cases_written_by_hand() -> None:
    # "two planes" of three and four words; the bag without stop words shares two of three and of two
    assert rouge_l_f1("Two white planes!", ["a field", "two planes are white"]) == pytest.approx(4 / 7)
    assert lexical_f1("the two planes on grass", ["a field", "two planes"]) == pytest.approx(4 / 5)
    assert lexical_f1("bright bright roofs", ["bright roofs"]) == pytest.approx(4 / 5)
    assert rouge_l_f1("", ["a"]) == lexical_f1("the of", ["the of"]) == lexical_f1("x", []) == 0.0


# The whole


def write_lines(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def written(folder: Path, captions: list[str | None], **changes: object) -> CaptionScoring:
    folder.mkdir(exist_ok=True)
    references = [{"id": f"r{row}", "references": texts} for row, texts in enumerate(REFERENCES)]
    predictions = [{"id": f"r{row}", "text": text} for row, text in enumerate(captions)]
    return CaptionScoring(
        predictions=PredictionFile(path=write_lines(folder / "said.jsonl", predictions)),
        references=ReferenceSource(path=write_lines(folder / "references.jsonl", references)),
        draws=200,
        **changes,  # type: ignore[arg-type]
    )


def test_a_run_gives_every_metric_with_its_interval(tmp_path: Path) -> None:
    result = run_captioning(written(tmp_path, list(CAPTIONS)))
    values = {metric.name: metric.value for metric in result.metrics}
    assert list(values) == [
        *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor_exact_stem", "rouge_l", "cider", "cider_d"),
        *("fusionrs/rouge_l", "fusionrs/lexical_f1"),
    ]
    assert values["bleu_4"] == pytest.approx(COCO_BLEU[3], abs=1e-9)
    assert values["cider_d"] == pytest.approx(np.mean(COCO_CIDER), abs=1e-9)
    assert values["meteor_exact_stem"] == pytest.approx(EXACT_STEM, abs=1e-9)
    for metric in result.metrics:
        assert metric.low < metric.value < metric.high, metric
        assert metric.n == 6
    assert result.outcomes.rows()[1]["rouge_l"] == pytest.approx(COCO_ROUGE[1], abs=1e-9)


def test_a_row_without_a_caption_scores_zero_and_stays_in_the_denominator(tmp_path: Path) -> None:
    whole = run_captioning(written(tmp_path / "whole", list(CAPTIONS)))
    failed = run_captioning(written(tmp_path / "failed", [*CAPTIONS[:5], None]))
    missing = run_captioning(written(tmp_path / "missing", list(CAPTIONS[:5])))
    assert (failed.failed, failed.missing, missing.failed, missing.missing) == (1, 0, 0, 1)
    assert failed.metrics == missing.metrics
    for before, after in zip(whole.metrics, missing.metrics, strict=True):
        assert after.n == 6
        if before.name in ("rouge_l", "cider", "cider_d", "fusionrs/rouge_l"):
            gone = whole.outcomes.rows()[5][before.name]
            assert isinstance(gone, float)
            assert after.value == pytest.approx(before.value - gone / 6)
    compared = {metric.name: metric for metric in differences(whole.outcomes, missing.outcomes, draws=200)}
    assert compared["difference/rouge_l"].value == pytest.approx(1 / 6)


def test_references_come_from_the_folder_of_the_builder_and_rows_without_any_are_counted(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table(
        {
            "id": ["s:1", "s:2", "t:3"],
            "source": ["s", "s", "t"],
            "captions": [["a lake"], ["two ships"], ["a field"]],
            "infrared_captions": [["a dark lake"], [], ["a bright field"]],
        }
    )
    pq.write_table(table, tmp_path / "data" / "test-00000-of-00001.parquet")
    said = [
        {"id": key, "shown": shown, "text": text}
        for shown, text in (("rgb", "nothing"), ("pair", "a dark lake"))
        for key in ("s:1", "s:2", "t:3")
    ]
    config = CaptionScoring(
        predictions=PredictionFile(path=write_lines(tmp_path / "said.jsonl", said), where=("shown=pair",)),
        references=ReferenceSource(path=tmp_path, column="infrared_captions"),
        draws=50,
    )
    result = run_captioning(config)
    values = {metric.name: (metric.value, metric.n) for metric in result.metrics}
    assert (result.rows, result.left_out) == (2, 1)
    assert values["source/s/fusionrs/rouge_l"] == (1.0, 1)
    assert values["source/t/fusionrs/rouge_l"] == (pytest.approx(1 / 3), 1)


def test_a_reference_without_words_is_an_empty_text_beside_others_and_no_reference_alone(tmp_path: Path) -> None:
    config = written(tmp_path, ["a river", "a lake"])
    rows = [{"id": "r0", "references": ["a river", " ."]}, {"id": "r1", "references": [" ."]}]
    write_lines(config.references.path, rows)  # type: ignore[arg-type]
    result = run_captioning(config)
    values = {metric.name: metric.value for metric in result.metrics}
    assert (result.rows, result.left_out) == (1, 1)
    assert (values["bleu_1"], values["rouge_l"], values["meteor_exact_stem"]) == (pytest.approx(1), 1, 1)


def test_references_that_cannot_count_are_refused(tmp_path: Path) -> None:
    config = written(tmp_path, list(CAPTIONS))
    for lines, message in (
        ([{"id": "a", "references": ["x"]}, {"id": "a", "references": ["y"]}], "hold 'a' twice"),
        ([{"id": "a", "references": "x"}], "references of 'a' are 'x', wanted a list of strings"),
        ([{"references": ["x"]}], "line 1: id is None, wanted a string"),
        ([], "hold no row"),
    ):
        write_lines(config.references.path, lines)
        with pytest.raises(ValueError, match=message):
            read_references(config.references)
    write_lines(config.references.path, [{"id": f"r{row}", "references": ["..."]} for row in range(6)])
    with pytest.raises(ValueError, match="no row of the manifest has a reference with a word"):
        run_captioning(config)
    with pytest.raises(FileNotFoundError, match="neither a folder of the dataset builder nor a JSON-lines file"):
        read_references(ReferenceSource(path=tmp_path / "absent"))


def test_evaluate_loads_the_metric_from_the_folder_without_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = pytest.importorskip("evaluate")
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = Path(__file__).parents[1] / "evaluation" / "metrics" / "caption_scores"
    metric = evaluate.load(str(folder), cache_dir=str(tmp_path / "cache"))
    values = metric.compute(predictions=CAPTIONS, references=REFERENCES)
    assert values["bleu_4"] == pytest.approx(COCO_BLEU[3], abs=1e-9)
    assert values["cider_d"] == pytest.approx(np.mean(COCO_CIDER), abs=1e-9)


@pytest.mark.parity
def test_live_parity_with_pycocoevalcap_where_it_is_installed() -> None:
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu")
    cider = pytest.importorskip("pycocoevalcap.cider.cider")
    generator = np.random.default_rng(0)
    words = [f"w{word}" for word in range(12)]
    said, of = {}, {}
    for row in range(60):
        said[row] = [" ".join(generator.choice(words, size=generator.integers(1, 15)))]
        of[row] = [" ".join(generator.choice(words, size=generator.integers(1, 15))) for _ in range(3)]
    tokens, references = [said[row][0].split() for row in said], [[text.split() for text in of[row]] for row in of]
    expected, _ = bleu.Bleu(4).compute_score(of, said, verbose=0)
    assert [of_corpus(score) for score in bleu_scores(tokens, references)] == pytest.approx(expected, abs=1e-9)
    _, rows = cider.Cider().compute_score(of, said)
    assert cider_rows(tokens, references)[1] == pytest.approx(rows.tolist(), abs=1e-9)
