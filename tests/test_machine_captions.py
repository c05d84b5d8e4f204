"""Captions of images that have only a label: what is sampled, how it is ranked, and which one rotation leaves."""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LLAMA, VISION
from PIL import Image
from processing_fixtures import make_scene, make_tokenizer
from saved_clips import SIZE, save_clip, spread
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from dataset_scripts.stages import machine_captions
from dataset_scripts.stages.caption_candidates import (
    DEFAULT_INSTRUCTION,
    Captioner,
    CaptionerSettings,
    clean_candidates,
    image_seed,
)
from dataset_scripts.stages.clip_scorer import ClipScorer, ClipScorerSettings, NonFiniteScoreError
from dataset_scripts.stages.machine_captions import (
    REASONS,
    CaptionedImage,
    MachineCaptionSettings,
    ScoredCaption,
    caption_images,
    rank_and_choose,
)
from dataset_scripts.stages.rejects import Reject
from dataset_scripts.stages.rotation_invariance import RotationSettings, choose_caption, rotate_image
from modeling_rsclip import RSCaptionerConfig, RSCaptionerForConditionalGeneration
from processing import RSCaptionerProcessor, RSImageProcessor

FAMILIES = ["blip2_opt", "blip2_t5", "llava", "rscaptioner"]
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %} answer: "
)


def pictures() -> list[Image.Image]:
    return [Image.fromarray(make_scene(*side, seed=seed)) for seed, side in enumerate([(48, 64), (40, 32), (33, 90)])]


def save_captioner(family: str, folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = make_tokenizer(appends_eos=False)
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    llama = {**LLAMA, "vocab_size": len(tokenizer)}
    clip_images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
    model: Any
    processor: Any
    if family.startswith("blip2"):
        small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
        opt = {"model_type": "opt", "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
        opt |= {"word_embed_proj_dim": 32, "max_position_embeddings": 128, "bos_token_id": 2, "eos_token_id": 3}
        t5 = {"model_type": "t5", "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 1, "num_heads": 4}
        t5 |= {"eos_token_id": 3, "decoder_start_token_id": 1, "bos_token_id": 2}
        text = {**(opt if family == "blip2_opt" else t5), "vocab_size": len(tokenizer), "pad_token_id": 1}
        config = Blip2Config(
            vision_config={**small, "image_size": 32, "patch_size": 8},
            qformer_config={**small, "vocab_size": 9},
            text_config=text,
            num_query_tokens=4,
            image_token_index=image_token,
        )
        model = Blip2ForConditionalGeneration(config)
        processor = Blip2Processor(BlipImageProcessor(size=SIZE), tokenizer, num_query_tokens=4)
    elif family == "llava":
        config = LlavaConfig(
            vision_config=VISION,
            text_config=llama,
            image_token_index=image_token,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
        )
        model = LlavaForConditionalGeneration(config)
        processor = LlavaProcessor(
            clip_images,
            tokenizer,
            patch_size=8,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=CHAT,
        )
    else:
        config = RSCaptionerConfig(vision_config=VISION, text_config=llama, image_token_id=image_token)
        model = RSCaptionerForConditionalGeneration(config)
        images = RSImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
        processor = RSCaptionerProcessor(images, tokenizer, num_image_tokens=16)
    spread(model).save_pretrained(folder)
    processor.save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Folders of tiny models, by family; a CLIP's name may end in a number."""
    root = tmp_path_factory.mktemp("captioners")

    def folder(name: str) -> str:
        if not (root / name).exists():
            save = save_captioner if name in FAMILIES else save_clip
            save(name, root / name)
        return str(root / name)

    return folder


def settings_of(folders: Callable[[str], str], family: str, **fields: Any) -> CaptionerSettings:
    return CaptionerSettings(**{"model": folders(family), "candidates": 4, "max_new_tokens": 8, **fields})


@pytest.mark.parametrize("family", FAMILIES)
def test_candidates_of_an_image_do_not_depend_on_what_was_captioned_before(
    family: str, folders: Callable[[str], str]
) -> None:
    captioner = Captioner.open(settings_of(folders, family))
    forth = [captioner.write_candidates(image, f"image {row}") for row, image in enumerate(pictures())]
    torch.manual_seed(99)
    back = [captioner.write_candidates(pictures()[row], f"image {row}") for row in (2, 1, 0)][::-1]
    assert forth == back
    assert [len(candidates) for candidates in forth] == [4, 4, 4]
    assert len({text for candidates in forth for text in candidates}) > 6
    other_seed = Captioner.open(settings_of(folders, family, seed=1))
    assert other_seed.write_candidates(pictures()[0], "image 0") != forth[0]
    assert captioner.write_candidates(pictures()[0], "another id") != forth[0]


def test_sampling_leaves_the_random_numbers_of_its_caller_alone(folders: Callable[[str], str]) -> None:
    captioner = Captioner.open(settings_of(folders, "llava"))
    before = torch.get_rng_state()
    captioner.write_candidates(pictures()[0], "0")
    assert torch.equal(torch.get_rng_state(), before)


def test_beams_that_a_checkpoint_asks_for_do_not_replace_sampling(
    folders: Callable[[str], str], tmp_path: Path
) -> None:
    save_captioner("llava", tmp_path)
    model = LlavaForConditionalGeneration.from_pretrained(tmp_path)
    model.generation_config.num_beams = 5
    model.save_pretrained(tmp_path)
    assert LlavaForConditionalGeneration.from_pretrained(tmp_path).generation_config.num_beams == 5
    with_beams = Captioner(settings_of(folders, "llava", model=str(tmp_path)))
    without = Captioner.open(settings_of(folders, "llava"))
    assert with_beams.write_candidates(pictures()[0], "x") == without.write_candidates(pictures()[0], "x")


def seeded(model: Any, inputs: Any, image_id: str) -> torch.Tensor:
    torch.manual_seed(image_seed(0, image_id))
    options = {"top_p": 0.95, "top_k": 50, "do_sample": True, "num_return_sequences": 4, "max_new_tokens": 8}
    with torch.no_grad():
        tokens: torch.Tensor = model.generate(**inputs, **options)
    return tokens


def test_a_chat_model_gets_the_instruction_in_its_template_and_its_answer_alone_is_kept(
    folders: Callable[[str], str],
) -> None:
    model = LlavaForConditionalGeneration.from_pretrained(folders("llava")).eval()
    processor = LlavaProcessor.from_pretrained(folders("llava"))
    for prompt in (None, "Name the land cover."):
        text = f"<image>{prompt or DEFAULT_INSTRUCTION} answer: "
        inputs = processor(images=pictures()[0], text=text, return_tensors="pt")
        tokens = seeded(model, inputs, "x")[:, inputs["input_ids"].shape[1] :]
        wanted = processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        captioner = Captioner.open(settings_of(folders, "llava", prompt=prompt))
        assert captioner.write_candidates(pictures()[0], "x") == wanted


@pytest.mark.parametrize("family", ["blip2_opt", "blip2_t5"])
def test_a_model_without_a_template_goes_on_from_plain_words(family: str, folders: Callable[[str], str]) -> None:
    model = Blip2ForConditionalGeneration.from_pretrained(folders(family)).eval()
    processor = Blip2Processor.from_pretrained(folders(family))
    inputs = processor(images=pictures()[0], text="a photo of", return_tensors="pt")
    start = inputs["input_ids"].shape[1] if family == "blip2_opt" else 1
    wanted = processor.tokenizer.batch_decode(seeded(model, inputs, "x")[:, start:], skip_special_tokens=True)
    prompted = Captioner.open(settings_of(folders, family, prompt="a photo of"))
    assert prompted.write_candidates(pictures()[0], "x") == wanted
    assert Captioner.open(settings_of(folders, family)).write_candidates(pictures()[0], "x") != wanted


def test_what_is_sampled_depends_on_the_picture(folders: Callable[[str], str]) -> None:
    for family in FAMILIES:
        captioner = Captioner.open(settings_of(folders, family, max_new_tokens=16))
        first, second = (
            captioner.write_candidates(image, "same id") for image in (pictures()[0], Image.new("RGB", (40, 40)))
        )
        assert first != second, family


def test_a_model_that_fails_says_at_which_image(folders: Callable[[str], str]) -> None:
    captioner = Captioner(settings_of(folders, "llava"))
    with torch.no_grad():
        captioner._model.lm_head.weight.fill_(math.nan)
    with pytest.raises(RuntimeError, match="probability") as caught:
        captioner.write_candidates(pictures()[0], "fmow:17")
    assert "captioned image 'fmow:17'" in caught.value.__notes__[0]


def test_a_prompt_without_the_image_token_a_model_wants_is_an_error(folders: Callable[[str], str]) -> None:
    captioner = Captioner.open(settings_of(folders, "llava", use_chat_template=False, prompt="a photo of"))
    with pytest.raises(ValueError, match=r"[Ii]mage"):
        captioner.write_candidates(pictures()[0], "x")


@pytest.mark.parametrize(
    ("prompt", "text", "wanted"),
    [
        ("a photo of", "A  photo of ships", " ships"),
        ("a", "an airport", "an airport"),
        ("a photo of", "ships in a photo of", "ships in a photo of"),
        ("c++ (", "c++ ( x", " x"),
        (None, "a photo of ships", "a photo of ships"),
    ],
)
def test_only_a_whole_prompt_is_taken_off_the_front(
    prompt: str | None, text: str, wanted: str, folders: Callable[[str], str]
) -> None:
    assert Captioner.open(settings_of(folders, "blip2_opt", prompt=prompt))._strip_prompt(text) == wanted


def test_candidates_are_cleaned_of_blanks_and_of_what_was_said_before() -> None:
    texts = ["  two\n ships ", "", "Two ships.", " \t", "...", "a  harbor", "two ships", "a harbor at night"]
    assert clean_candidates(texts) == ["two ships", "a harbor", "a harbor at night"]
    assert clean_candidates([]) == []


def test_the_seed_of_an_image_is_the_same_for_ever() -> None:
    assert image_seed(0, "fmow:airport_0") == 4925144108545643708
    assert image_seed(1, "1") != image_seed(11, "")
    assert len({image_seed(seed, str(row)) for seed in range(9) for row in range(99)}) == 9 * 99
    assert 0 <= max(image_seed(0, str(row)) for row in range(999)) < 2**63


def stub_cosines() -> np.ndarray[Any, Any]:
    """Two captions: one apt, whose cosines waver, one that says nothing, with equal low cosines."""
    return np.array([[0.30, 0.34, 0.30, 0.34], [0.05, 0.05, 0.05, 0.05]])


def test_a_caption_that_says_nothing_wins_by_variance_alone_and_loses_with_the_mean() -> None:
    apt, empty = 0, 1
    assert choose_caption(stub_cosines(), math.inf).chosen == empty
    scores = choose_caption(stub_cosines(), 1.0)
    assert scores.chosen == apt
    np.testing.assert_allclose(scores.mean, [0.32, 0.05])
    np.testing.assert_allclose(scores.deviation, [0.02, 0.0], atol=1e-12)
    # mean - lambda * deviation is equal where 0.32 - 0.02 lambda = 0.05.
    assert choose_caption(stub_cosines(), 13.49).chosen == apt
    assert choose_caption(stub_cosines(), 13.51).chosen == empty


@pytest.mark.parametrize("seed", range(5))
def test_infinity_is_the_smallest_variance_and_zero_the_highest_mean(seed: int) -> None:
    cosines = np.random.default_rng(seed).uniform(-1, 1, (7, 12)).astype(np.float32)
    assert choose_caption(cosines, math.inf).chosen == int(cosines.astype(np.float64).var(axis=1).argmin())
    assert choose_caption(cosines, 0).chosen == int(cosines.astype(np.float64).mean(axis=1).argmax())
    middle = choose_caption(cosines, 0.7)
    objectives = [float(np.mean(row)) - 0.7 * float(np.std(row)) for row in cosines.astype(np.float64)]
    assert middle.chosen == objectives.index(max(objectives))


def test_equal_objectives_go_to_the_higher_mean_and_then_to_the_first() -> None:
    # Twelve times 0.1 does not sum to 1.2 in binary: equal cosines must still have no variance at all.
    level = np.repeat([[0.1], [0.3], [0.3], [0.2]], 12, axis=1)
    assert choose_caption(level, math.inf).chosen == 1
    assert choose_caption(level, math.inf).deviation.tolist() == [0, 0, 0, 0]
    assert choose_caption(level[[3, 0]], 5.0).chosen == 0
    assert choose_caption(np.array([[0.0, 0.5], [0.25, 0.25]]), 0).chosen == 0


def test_cosines_that_cannot_be_judged_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^cosines of caption 1 are not finite\.$"):
        choose_caption(np.array([[0.1, 0.2], [0.1, math.nan]]), 1.0)
    with pytest.raises(ValueError, match=r"^cosines have shape \(0, 12\)"):
        choose_caption(np.zeros((0, 12)), 1.0)
    for weight in (-0.1, math.nan):
        with pytest.raises(ValueError, match="it must be 0 or more, or infinity"):
            RotationSettings(deviation_weight=weight)
    with pytest.raises(ValueError, match="rotations is 1"):
        RotationSettings(rotations=1)


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (101, 47), (48, 201), (7, 7), (2, 2), (3, 50)])
def test_no_turned_image_shows_what_is_outside_of_it(size: tuple[int, int]) -> None:
    for turned in rotate_image(Image.new("RGB", size, (255, 255, 255))):
        assert turned.size == (math.floor(min(size) / math.sqrt(2)),) * 2
        assert turned.getextrema() == ((255, 255),) * 3


def test_quarter_turns_are_exact_and_turn_the_same_way() -> None:
    picture = Image.fromarray(make_scene(64, 64))
    turned = rotate_image(picture, 4)  # the side, 45, leaves half a pixel: one resampling for all angles
    side = turned[0].width
    assert side == 45
    arrays = [np.asarray(image).astype(int) for image in turned]
    for step in (1, 2, 3):
        np.testing.assert_allclose(arrays[step], np.rot90(arrays[0], step), atol=1)
    even = Image.fromarray(make_scene(60, 60))  # the side is 42: whole pixels
    np.testing.assert_array_equal(np.asarray(rotate_image(even)[0]), np.asarray(even)[9:51, 9:51])


def test_a_disc_looks_the_same_at_every_angle_and_a_bar_does_not() -> None:
    rows, columns = np.mgrid[0:80, 0:80] - 39.5
    disc = np.uint8(255 / (1 + np.hypot(rows, columns) / 10))
    bar = np.uint8(255 * (np.abs(rows) < 6))
    spreads = []
    for picture in (disc, bar):
        turned = np.stack([np.asarray(image, dtype=float) for image in rotate_image(Image.fromarray(picture))])
        spreads.append(turned.std(axis=0).max())
    assert spreads[0] < 3
    assert spreads[1] > 50


def test_an_image_of_one_pixel_has_no_centre_to_turn() -> None:
    with pytest.raises(ValueError, match=r"^an image of 9x1 has no centre to turn; it must be 2x2 at least\.$"):
        rotate_image(Image.new("RGB", (9, 1)))


class StubScorer:
    """Captions are axes; a picture is the cosines that its red value stands for."""

    def __init__(self, cosines: dict[str, list[float]]) -> None:
        self.cosines = cosines
        self.rotation = 0

    def embed_texts(self, texts: list[str]) -> np.ndarray[Any, Any]:
        names = list(self.cosines)
        return np.eye(len(names) + 1)[[names.index(text) for text in texts]]

    def embed_images(self, images: list[Image.Image]) -> np.ndarray[Any, Any]:
        """The whole picture gives the first cosines; its rotations the others in turn."""
        steps = range(1, len(images) + 1) if len(images) > 1 else [0]
        found = np.array([[row[step % len(row)] for row in self.cosines.values()] for step in steps])
        rest = np.sqrt(1 - (found**2).sum(axis=1, keepdims=True))
        return np.concatenate([found, rest], axis=1) * 7  # any length


def stub_settings(first: Any, second: Any, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> MachineCaptionSettings:
    scorers = {"first": first, "second": second}
    monkeypatch.setattr(machine_captions.ClipScorer, "open", lambda settings: scorers[settings.model])
    return MachineCaptionSettings(
        captioner=CaptionerSettings(model="captioner"),
        first_scorer=ClipScorerSettings(model="first"),
        second_scorer=None if second is None else ClipScorerSettings(model="second"),
        **fields,
    )


def test_candidates_are_ranked_twice_and_the_stable_one_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first number is the cosine with the whole image, the others with its two rotations.
    first = StubScorer({"a": [0.1], "b": [0.4], "c": [0.3], "d": [0.2]})
    second = StubScorer({"b": [0.1, 0.0, 0.0], "c": [0.2, 0.2, 0.2], "d": [0.5, 0.1, 0.5]})
    settings = stub_settings(
        first, second, monkeypatch, keep_first=3, keep_second=2, rotation=RotationSettings(rotations=2)
    )
    done = rank_and_choose(4, pictures()[0], ["a", "b", "c", "d"], settings)
    assert (done.row, [caption.text for caption in done.captions]) == (4, ["d", "c"])
    for caption, (similarity, mean, deviation) in zip(done.captions, [(0.5, 0.3, 0.2), (0.2, 0.2, 0.0)], strict=True):
        assert caption.similarity == pytest.approx(similarity)
        assert caption.rotation_mean == pytest.approx(mean)
        assert caption.rotation_deviation == pytest.approx(deviation, abs=1e-9)
    assert done.chosen == 1  # 0.2 - 0 beats 0.3 - 0.2
    assert done.entries() == [
        {"text": "d", "kind": "machine", "score": pytest.approx(0.5)},
        {"text": "c", "kind": "rotation_invariant", "score": pytest.approx(0.2)},
    ]


def test_without_a_second_scorer_the_first_ranking_stays_and_equal_captions_keep_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = StubScorer({"a": [0.2], "b": [0.4], "c": [0.2], "d": [0.1]})
    settings = stub_settings(first, None, monkeypatch, keep_first=3, keep_second=1)
    done = rank_and_choose(0, pictures()[0], ["a", "b", "c", "d"], settings)
    assert [caption.text for caption in done.captions] == ["b", "a", "c"]
    assert done.chosen == 0
    names = [f"caption {place}" for place in range(40)]
    mixed = {name: [0.1 if place % 2 else 0.05] for place, name in enumerate(names)}
    settings = stub_settings(StubScorer(mixed), None, monkeypatch, keep_first=40)
    done = rank_and_choose(0, pictures()[0], names, settings)
    assert [caption.text for caption in done.captions] == names[1::2] + names[::2]


def test_an_embedding_that_is_not_finite_names_the_row_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    first = StubScorer({"a": [math.nan]})
    settings = stub_settings(first, None, monkeypatch)
    with pytest.raises(NonFiniteScoreError, match=r"^whole image 0 of row 6 has an embedding of length nan") as caught:
        rank_and_choose(6, pictures()[0], ["a"], settings)
    assert caught.value.row == 6


def real_settings(folders: Callable[[str], str], **fields: Any) -> MachineCaptionSettings:
    return MachineCaptionSettings(
        **{
            "captioner": settings_of(folders, "blip2_opt", candidates=6),
            "first_scorer": ClipScorerSettings(model=folders("clip")),
            "second_scorer": ClipScorerSettings(model=folders("siglip"), batch_size=5),
            "keep_first": 4,
            "keep_second": 3,
            **fields,
        }
    )


def test_a_batch_equals_a_loop_written_out_with_the_models(folders: Callable[[str], str]) -> None:
    settings = real_settings(folders, second_scorer=None, rotation=RotationSettings(deviation_weight=math.inf))
    settings = pickle.loads(pickle.dumps(settings))
    kept, rejects = caption_images(pictures(), ["a", "b", "c"], settings)
    assert rejects == []
    model, processor = CLIPModel.from_pretrained(folders("clip")), CLIPProcessor.from_pretrained(folders("clip"))
    cosine = torch.nn.functional.cosine_similarity
    for row, (picture, name) in enumerate(zip(pictures(), "abc", strict=True)):
        texts = clean_candidates(Captioner.open(settings.captioner).write_candidates(picture, name))
        with torch.no_grad():
            embedded = [
                model.get_text_features(
                    **processor.tokenizer(text, truncation=True, max_length=40, return_tensors="pt")
                ).pooler_output[0]
                for text in texts
            ]
            whole, *turned = (
                model.get_image_features(**processor(images=image, return_tensors="pt")).pooler_output[0]
                for image in [picture, *rotate_image(picture)]
            )
            similarities = [float(cosine(whole, text, dim=0)) for text in embedded]
            best = sorted(range(len(texts)), key=lambda place: -similarities[place])[:4]
            spreads = [np.array([float(cosine(image, embedded[place], dim=0)) for image in turned]) for place in best]
        assert kept[row].row == row
        assert [caption.text for caption in kept[row].captions] == [texts[place] for place in best]
        for caption, place, cosines in zip(kept[row].captions, best, spreads, strict=True):
            assert caption.similarity == pytest.approx(similarities[place], abs=1e-5)
            assert caption.rotation_mean == pytest.approx(cosines.mean(), abs=1e-5)
            assert caption.rotation_deviation == pytest.approx(cosines.std(), abs=1e-5)
        assert kept[row].chosen == int(np.argmin([cosines.var() for cosines in spreads]))


def test_a_batch_in_two_halves_gives_the_captions_of_the_whole(folders: Callable[[str], str]) -> None:
    settings = real_settings(folders)
    whole, _ = caption_images(pictures(), ["a", "b", "c"], settings)
    halves = [
        *caption_images(pictures()[2:], ["c"], settings)[0],
        *caption_images(pictures()[:2], ["a", "b"], settings)[0],
    ]
    wanted = {row: whole[place].captions for row, place in enumerate([2, 0, 1])}
    for row, half in enumerate(halves):
        assert [caption.text for caption in half.captions] == [caption.text for caption in wanted[row]]
        assert 1 <= len(half.captions) <= 3
        np.testing.assert_allclose(
            [caption.similarity for caption in half.captions],
            [caption.similarity for caption in wanted[row]],
            atol=1e-5,
        )


def test_an_image_without_a_caption_is_rejected_by_name(
    folders: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {"a": ["", " ."], "b": ["ships", "Ships!"]}
    monkeypatch.setattr(Captioner, "write_candidates", lambda captioner, image, name: written[name])
    kept, rejects = caption_images(pictures()[:2], ["a", "b"], real_settings(folders))
    assert rejects == [Reject(0, "no_caption", "2 candidates without a word, the first ''")]
    assert {reject.reason for reject in rejects} == set(REASONS)
    assert [(image.row, [caption.text for caption in image.captions]) for image in kept] == [(1, ["ships"])]
    assert caption_images([], [], real_settings(folders)) == ([], [])


def test_ids_must_be_one_for_each_image(folders: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match=r"^3 images have 2 ids; give each its own\.$"):
        caption_images(pictures(), ["a", "b"], real_settings(folders))
    with pytest.raises(ValueError, match=r"^image ids \['b'\] come more than once"):
        caption_images(pictures(), ["b", "b", "a"], real_settings(folders))


def test_a_chosen_first_caption_is_one_entry() -> None:
    captions = (ScoredCaption("x", 0.5, 0.4, 0.1), ScoredCaption("y", 0.4, 0.3, 0.2))
    assert [entry["kind"] for entry in CaptionedImage(0, captions, 0).entries()] == ["rotation_invariant", "machine"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"candidates": 0}, "candidates, max_new_tokens and top_k are 0, 50 and 50"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"temperature": math.nan}, "temperature is nan"),
    ],
)
def test_sampling_that_cannot_work_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CaptionerSettings(**{"model": "m", **fields})


def test_keeping_more_in_the_second_ranking_than_in_the_first_is_refused() -> None:
    clip = ClipScorerSettings(model="m")
    with pytest.raises(ValueError, match=r"^keep_second is 5, more than the 4 of keep_first\.$"):
        MachineCaptionSettings(
            captioner=CaptionerSettings(model="m"), first_scorer=clip, second_scorer=clip, keep_first=4
        )


def test_a_scorer_is_not_loaded_again_for_the_next_batch(folders: Callable[[str], str]) -> None:
    settings = real_settings(folders)
    assert ClipScorer.open(settings.first_scorer) is ClipScorer.open(pickle.loads(pickle.dumps(settings)).first_scorer)
    assert Captioner.open(settings.captioner) is Captioner.open(pickle.loads(pickle.dumps(settings)).captioner)
