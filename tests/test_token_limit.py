"""Which parts of captions a text tower never reads."""

import re
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from dataset_scripts.stages.token_limit import (
    CLIP_TOKENS,
    SIGLIP_TOKENS,
    CaptionSpan,
    TokenWarning,
    counter_of,
    estimate_offsets,
    join_parts,
    lint_token_limit,
)

# A metadata caption with the fields that RS5M writes for fMoW, and a machine caption as it puts behind it.
METADATA = (
    "This is a satellite image of an airport terminal situated in Zurich, Switzerland, captured in the spring "
    "and is located at the center and top-left of the image. The image has a ground sample distance of "
    "0.4967 meters and UTM zone 32T. It was taken at 2012-04-02T10:32:22Z with a cloud "
    "cover of 2 percent. The scan direction was Reverse, with a target azimuth of 31.21° and an off-nadir angle of "
    "14.80°."
)
MACHINE = "many planes are parked next to a long building in an airport"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Words, single digits and runs of signs as CLIP cuts them, all of them unknown words; first and end token."""
    core = Tokenizer(models.WordLevel({"<start>": 0, "<end>": 1, "<unknown>": 2}, unk_token="<unknown>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    core.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<start>", eos_token="<end>", unk_token="<unknown>", pad_token="<end>"
    )


def words(count: int) -> str:
    return " ".join(["word"] * count)


def test_the_machine_caption_of_an_fmow_row_of_rs5m_is_wholly_lost(tokenizer: Any) -> None:
    warnings, (machine, metadata) = lint_token_limit([[("metadata", METADATA), ("machine", MACHINE)]], tokenizer)
    assert warnings == [
        TokenWarning(0, "metadata", "partly", 1, 117, 42, 77, is_estimate=False),
        TokenWarning(0, "machine", "wholly", 118, 12, 12, 77, is_estimate=False),
    ]
    assert (machine.wholly_lost, machine.partly_lost, machine.median_start_token) == (1.0, 0.0, 118.0)
    assert (metadata.wholly_lost, metadata.partly_lost, metadata.median_start_token) == (0.0, 1.0, 1.0)
    assert str(machine) == (
        "machine: 100.0% of 1 lie wholly and 0.0% partly beyond 77 tokens; the median starts at token 118"
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # 77 places less the two special tokens are 75 words.
        (70, 5, None),
        (70, 6, ("partly", 71, 6, 1)),
        (74, 6, ("partly", 75, 6, 5)),
        (75, 6, ("wholly", 76, 6, 6)),
    ],
)
def test_the_limit_counts_the_special_tokens(
    tokenizer: Any, before: int, after: int, expected: tuple[str, int, int, int] | None
) -> None:
    parts = [("web", words(before)), ("machine", words(after))]
    warnings, _ = lint_token_limit([parts], tokenizer)
    assert [warning for warning in warnings if warning.kind == "machine"] == (
        [] if expected is None else [TokenWarning(0, "machine", *expected, CLIP_TOKENS, is_estimate=False)]
    )


def test_what_is_called_lost_is_what_truncation_removes(tokenizer: Any) -> None:
    for length in range(50, 90):
        parts = [("web", words(length)), ("machine", words(9))]
        for limit in (CLIP_TOKENS, SIGLIP_TOKENS):
            warnings, _ = lint_token_limit([parts], tokenizer, limit=limit)
            lost = {warning.kind: warning.lost_tokens for warning in warnings}
            text, spans = join_parts(parts)
            cut = tokenizer(text, truncation=True, max_length=limit, return_offsets_mapping=True)
            read = [start for start, end in cut["offset_mapping"] if end > start]
            for span in spans:
                of_span = sum(span.start <= start < span.end for start in read)
                assert of_span == len(text[span.start : span.end].split()) - lost.get(span.kind, 0)


def test_a_callable_and_spans_give_what_a_tokenizer_and_parts_give(tokenizer: Any) -> None:
    def offsets_of(text: str) -> list[tuple[int, int]]:
        pieces = [match.span() for match in re.finditer(r"[^\W\d_]+|\d|[^\s\w]+", text)]
        return [(0, 0), *pieces, (len(text), len(text))]

    parts = [[("metadata", METADATA), ("machine", MACHINE)], [("web", "short")]]
    texts = [join_parts(row) for row in parts]
    assert lint_token_limit(texts, offsets_of) == lint_token_limit(parts, tokenizer)
    # Only the part that matters.
    text, spans = texts[0]
    warnings, summaries = lint_token_limit([(text, spans[1:])], tokenizer)
    assert [warning.kind for warning in warnings] == [summary.kind for summary in summaries] == ["machine"]


def test_a_tokenizer_without_offsets_gives_the_same_by_counting_prefixes(tokenizer: Any) -> None:
    class Slow(PreTrainedTokenizerFast):
        """Says that it has no offsets."""

        is_fast = property(lambda self: False)  # type: ignore[assignment]

        def __call__(self, text: Any, **options: Any) -> Any:
            assert "return_offsets_mapping" not in options
            return super().__call__(text, **options)

    slow = Slow(tokenizer_object=tokenizer.backend_tokenizer, bos_token="<start>", eos_token="<end>")
    rows = [[("metadata", METADATA), ("machine", MACHINE)], [("web", words(75)), ("machine", "a b")]]
    assert lint_token_limit(rows, slow) == lint_token_limit(rows, tokenizer)


def test_shares_are_of_the_parts_of_a_kind(tokenizer: Any) -> None:
    rows = [[("metadata", words(length)), ("machine", words(10))] for length in (10, 70, 80, 90)]
    warnings, (machine, metadata, _) = lint_token_limit([*rows, [("web", "x"), ("machine", "")]], tokenizer)
    assert (machine.rows, machine.wholly_lost, machine.partly_lost) == (4, 0.5, 0.25)
    assert machine.median_start_token == (71 + 81) / 2
    assert (metadata.rows, metadata.wholly_lost, metadata.partly_lost) == (4, 0.0, 0.5)
    assert [(warning.row, warning.kind) for warning in warnings] == [
        *((1, "machine"), (2, "metadata"), (2, "machine"), (3, "metadata"), (3, "machine"))
    ]


def test_without_a_tokenizer_the_estimate_is_high_and_says_so(tokenizer: Any) -> None:
    warnings, (machine, _) = lint_token_limit([[("metadata", METADATA), ("machine", MACHINE)]])
    assert all(warning.is_estimate for warning in warnings)
    assert str(machine).endswith("(an estimate, no tokenizer was given)")
    assert len(estimate_offsets(METADATA)) >= counter_of(tokenizer)(METADATA)
    assert estimate_offsets("planes 12°é") == [
        *((0, 0), (0, 4), (4, 6), (7, 8), (8, 9), (9, 10), (9, 10), (10, 11), (10, 11), (11, 11))
    ]
    assert estimate_offsets("") == [(0, 0), (0, 0)]


def test_wrong_arguments_say_what_is_wrong(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="limit is 0; it must be at least 1"):
        lint_token_limit([], tokenizer, limit=0)
    with pytest.raises(ValueError, match=r"is no CaptionSpan within its text of 2 characters\."):
        lint_token_limit([("ab", [CaptionSpan("web", 0, 3)])], tokenizer)
    assert lint_token_limit([], tokenizer) == ([], [])
    tokenizer.truncation_side = "left"
    try:
        with pytest.raises(ValueError, match="the tokenizer cuts captions on the left"):
            lint_token_limit([[("web", "a")]], tokenizer)
    finally:
        tokenizer.truncation_side = "right"


def test_captions_are_encoded_a_thousand_at_a_time(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # One call for each caption takes ten times as long.
    sizes = []
    encode = PreTrainedTokenizerFast.__call__

    def counted(self: Any, text: Any, **options: Any) -> Any:
        sizes.append(len(text))
        return encode(self, text, **options)

    monkeypatch.setattr(PreTrainedTokenizerFast, "__call__", counted)
    rows = [[("web", words(row % 90 + 1))] for row in range(2500)]
    warnings, _ = lint_token_limit(rows, tokenizer)
    assert sizes == [1000, 1000, 500]
    assert [warning.row for warning in warnings] == [row for row in range(2500) if row % 90 + 1 > 75]
