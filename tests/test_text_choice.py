"""Which text a row shows, and that it is kept within the tokens by whole sentences."""

from typing import Any

import pytest
import torch
from processing_fixtures import make_tokenizer

from train.clip.rows import row_texts
from train.clip.text_choice import RowTexts, choose_kind, draw_parts, fit_text
from train.data.draw import draw

SCENE = "Two ships lie in a harbor. A road leads to the quay. Trees stand beside it."
INFRARED = "The left ship is bright. The water is dark."


def words(text: str) -> int:
    """A tokenizer of whole words, and the marks of start and end."""
    return len(text.split()) + 2


def test_a_text_that_fits_is_left_alone() -> None:
    fitted = fit_text([f" {SCENE} "], words, 30)
    assert (fitted.text, fitted.left_out) == (SCENE, ())


@pytest.mark.parametrize(
    ("limit", "text", "left_out"),
    [
        (27, f"{SCENE} {INFRARED}", 0),
        (26, "Two ships lie in a harbor. A road leads to the quay. The left ship is bright. The water is dark.", 1),
        (21, "Two ships lie in a harbor. A road leads to the quay. The left ship is bright.", 2),
        (17, "Two ships lie in a harbor. The left ship is bright. The water is dark.", 2),
        (13, "Two ships lie in a harbor. The left ship is bright.", 3),
        (8, "Two ships lie in a harbor.", 4),
    ],
)
def test_sentences_enter_in_turns_and_stay_in_the_order_of_their_texts(limit: int, text: str, left_out: int) -> None:
    fitted = fit_text([SCENE, INFRARED], words, limit)
    assert fitted.text == text
    assert len(fitted.left_out) == left_out
    assert words(fitted.text) <= limit


@pytest.mark.parametrize("limit", range(3, 40))
def test_every_sentence_is_kept_whole_or_named_as_left_out(limit: int) -> None:
    fitted = fit_text([SCENE, INFRARED], words, limit)
    assert words(fitted.text) <= limit
    sentences = [part.strip() + "." for part in f"{SCENE} {INFRARED}".split(".") if part.strip()]
    whole = {sentence for sentence in sentences if sentence in fitted.text}
    if limit >= 8:
        assert whole | set(fitted.left_out) == set(sentences)
        assert " ".join(sentence for sentence in sentences if sentence in whole) == fitted.text
    else:
        assert fitted.text + " " + fitted.left_out[0] == sentences[0]


def test_a_sentence_that_is_too_long_ends_at_a_clause_then_at_a_word_then_at_a_character() -> None:
    long = "Two ships lie in a harbor, and a road, wide and grey, leads to the quay"
    assert fit_text([long], words, 13).text == "Two ships lie in a harbor, and a road"
    assert fit_text([long], words, 9).text == "Two ships lie in a harbor"
    assert fit_text([long], words, 5).text == "Two ships lie"
    fitted = fit_text(["https://example.org/aerial"], len, 10)
    assert (fitted.text, fitted.left_out) == ("https://ex", ("ample.org/aerial",))
    with pytest.raises(ValueError, match="not one character of 'ship' fits into 0 tokens"):
        fit_text(["ship"], len, 0)


def test_abbreviations_and_numbers_end_no_sentence() -> None:
    text = "The image covers approx. 3.5 km of St. Louis. It was taken in winter."
    assert fit_text([text], words, 12).text == "The image covers approx. 3.5 km of St. Louis."


def test_parts_are_joined_by_full_stops() -> None:
    assert fit_text(["two ships", "they are bright"], words, 20).text == "two ships. they are bright"


def test_a_real_tokenizer_is_never_left_to_cut() -> None:
    tokenizer = make_tokenizer()

    def count(text: str) -> int:
        return len(tokenizer(text, truncation=False)["input_ids"])

    for limit in range(8, count(f"{SCENE} {INFRARED}") + 2, 5):
        text = fit_text([SCENE, INFRARED], count, limit).text
        ids = tokenizer(text, truncation=True, max_length=limit)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_what_a_choice_shows() -> None:
    texts = RowTexts((SCENE,), (INFRARED,), (INFRARED,))
    assert draw_parts(texts, "conventional", draw(0)) == (SCENE,)
    assert draw_parts(texts, "infrared_aware", draw(0)) == (INFRARED,)
    assert draw_parts(texts, "mixed", draw(0)) == (SCENE, INFRARED)
    bare = RowTexts((SCENE,))
    assert draw_parts(bare, "infrared_aware", draw(0)) == ()
    assert draw_parts(bare, "mixed", draw(0)) == (SCENE,)
    with pytest.raises(ValueError, match="text choice is 'both'"):
        draw_parts(texts, "both", draw(0))


def test_choices_are_drawn_as_often_as_they_are_repeated() -> None:
    generator = draw(0)
    drawn = [choose_kind(("mixed", "mixed", "mixed", "conventional"), generator) for _ in range(400)]
    assert 260 < drawn.count("mixed") < 340
    state = generator.get_state()
    assert choose_kind(("mixed",), generator) == "mixed"
    assert torch.equal(generator.get_state(), state), "one choice draws nothing"


def rs5m_row(**changes: Any) -> dict[str, Any]:
    captions = [
        {"text": "a harbor", "kind": "web"},
        {"text": "two ships", "kind": "machine"},
        {"text": "Taken in Genoa.", "kind": "metadata"},
    ]
    return {"id": "a:1", "captions": None, "preferred_caption": "a harbor", "captions_by_kind": captions, **changes}


def test_captions_of_rs5m_are_chosen_by_kind() -> None:
    assert row_texts(rs5m_row(), ("preferred",)).conventional == ("a harbor",)
    assert row_texts(rs5m_row(), ("machine", "metadata")).conventional == ("two ships", "Taken in Genoa.")
    assert row_texts(rs5m_row(), ("preferred",)).detail == ("Taken in Genoa.",)
    assert row_texts(rs5m_row(), ("preferred",)).infrared_aware == ()
    with pytest.raises(ValueError, match="row 'a:1' has no caption of rotation_invariant"):
        row_texts(rs5m_row(), ("rotation_invariant",))


def test_a_blank_caption_is_none() -> None:
    row = {"id": "a:2", "captions": ["", "a harbor", "  "], "infrared_captions": [""]}
    assert row_texts(row, ("preferred",)) == RowTexts(("a harbor",))
    with pytest.raises(ValueError, match="row 'a:2' has no caption"):
        row_texts({**row, "captions": [" "]}, ("preferred",))
