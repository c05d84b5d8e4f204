"""Wires transformers' common model and configuration tests to RSCLIP and RSCaptioner.

Run by `python -m tests.conformance_run`: here `tests` is the package of transformers' source distribution.
"""

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from unittest.mock import patch

import torch
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, floats_tensor, ids_tensor
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto

from modeling_rsclip import (
    RSCaptionerConfig,
    RSCaptionerForConditionalGeneration,
    RSCaptionerModel,
    RSCLIPConfig,
    RSCLIPModel,
)
from modeling_rsclip.pretrained_rsclip import LoudPreTrainedModel

# The common tests look a class up by name to know which labels it takes and whether it has a loss.
modeling_auto.MODEL_MAPPING_NAMES["rsclip"] = "RSCLIPModel"
modeling_auto.MODEL_MAPPING_NAMES["rscaptioner"] = "RSCaptionerModel"
modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES["rscaptioner"] = "RSCaptionerForConditionalGeneration"

VOCABULARY = 99
FIRST_WORD, LAST_WORD = 6, 80  # the cases that shrink the vocabulary cut it to 84
IMAGE_TOKEN, END_TOKEN, PAD_TOKEN = 4, 3, 1
TINY = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {**TINY, "image_size": 32, "patch_size": 8}
SPECIAL = {"vocab_size": VOCABULARY, "bos_token_id": 2, "eos_token_id": END_TOKEN, "pad_token_id": PAD_TOKEN}
NO_GENERATION_MIXIN = "GenerationTesterMixin is not in the source distribution; generation has parity tests of its own"
SEVERAL_TOWERS = "several towers: each returns its own in text_model_output, vision_model_output, infrared_model_output"


def random_words(rows: int, length: int) -> torch.Tensor:
    return ids_tensor([rows, length], LAST_WORD - FIRST_WORD, rng=Random(rows)) + FIRST_WORD


def random_pixels(images: int, channels: int) -> torch.Tensor:
    return floats_tensor([images, channels, VISION["image_size"], VISION["image_size"]], rng=Random(channels))


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Loads incomplete checkpoints as transformers does: ours refuses what these cases want to see reported."""
    with patch.object(LoudPreTrainedModel, "from_pretrained", classmethod(PreTrainedModel.from_pretrained.__func__)):
        yield


class IncompleteCheckpointCases(ModelTesterMixin):
    """The common tests that load a checkpoint with missing weights."""

    def test_correct_missing_keys(self) -> None:
        with quiet_loading():
            super().test_correct_missing_keys()

    def test_model_weights_reload_no_missing_tied_weights(self) -> None:
        with quiet_loading():
            super().test_model_weights_reload_no_missing_tied_weights()


class RSCLIPTester:
    """Makes tiny RSCLIP models and the inputs that reach all of their parameters."""

    # The sdpa test pads batches of fewer than 7 rows with random ids, special tokens among them.
    batch_size, seq_length, is_training = 8, 7, True
    image_size, num_channels, patch_size = 32, 3, 8
    hidden_size, num_hidden_layers, num_attention_heads = 32, 2, 4
    vocab_size = VOCABULARY

    def __init__(self, towers: str = "clip", **options):
        self.towers = towers
        self.options = options

    def get_config(self) -> RSCLIPConfig:
        text = {**TINY, **SPECIAL, "max_position_embeddings": 16, "model_type": f"{self.towers}_text_model"}
        if self.towers == "siglip":
            text |= {"projection_size": TINY["hidden_size"], "max_position_embeddings": self.seq_length}
        vision = {**VISION, "model_type": f"{self.towers}_vision_model"}
        # A temperature of 1: CLIP's multiplies the rounding of half precision beyond what the sdpa cases allow.
        defaults = {"projection_dim": 16, "logit_scale_init_value": 0.0}
        return RSCLIPConfig(text_config=text, vision_config=vision, **{**defaults, **self.options})

    def prepare_config_and_inputs_for_common(self) -> tuple[RSCLIPConfig, dict]:
        inputs = {
            "input_ids": self._captions(),
            "pixel_values": random_pixels(self.batch_size, 3),
            "infrared_values": random_pixels(self.batch_size, 1),
            "infrared_input_ids": self._captions(),
            "return_loss": True,
        }
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        return self.get_config(), inputs

    def _captions(self) -> torch.Tensor:
        ids = random_words(self.batch_size, self.seq_length)
        ids[:, -1] = END_TOKEN
        return ids


class RSCLIPCase(IncompleteCheckpointCases):
    """The common tests, as they apply to a model of several towers."""

    tester = RSCLIPTester()
    all_model_classes = (RSCLIPModel,)
    _is_composite = True
    test_can_init_all_missing_weights_before_2023 = True
    additional_model_inputs = ("pixel_values", "infrared_values", "infrared_input_ids")

    def setUp(self) -> None:
        self.model_tester = self.tester
        self.config_tester = ConfigTester(
            self, RSCLIPConfig, has_text_modality=False, common_properties=["projection_dim", "logit_scale_init_value"]
        )

    def test_config(self) -> None:
        self.config_tester.run_common_tests()

    @unittest.skip(SEVERAL_TOWERS)
    def test_attention_outputs(self) -> None:
        pass

    @unittest.skip(SEVERAL_TOWERS)
    def test_hidden_states_output(self) -> None:
        pass

    @unittest.skip(SEVERAL_TOWERS)
    def test_retain_grad_hidden_states_attentions(self) -> None:
        pass


class RSCLIPAdaptedCase(RSCLIPCase):
    """A model whose two image towers hold the same parameters."""

    def test_can_init_all_missing_weights(self) -> None:
        """Compares spreads: the common test compares values under one seed, but shared weights are drawn twice."""
        config = self.model_tester.get_config()
        built = RSCLIPModel(config).state_dict()
        filled = RSCLIPModel.from_pretrained(None, config=config, state_dict={}).state_dict()
        assert built.keys() == filled.keys()
        for name, weight in built.items():
            assert filled[name].device.type != "meta", name
            spread = weight.float().std(unbiased=False)
            if spread == 0:
                torch.testing.assert_close(filled[name], weight, msg=name)
            else:
                assert 0.5 < filled[name].float().std(unbiased=False) / spread < 2, name


class RSCLIPSharedTest(RSCLIPCase, unittest.TestCase):
    """FusionRS-CLIP's architecture: one image encoder, no fusion."""


class RSCLIPAdaptedGatedTest(RSCLIPAdaptedCase, unittest.TestCase):
    tester = RSCLIPTester(infrared_tower="adapted", fusion="gated")


class RSCLIPSeparateAttentionTest(RSCLIPCase, unittest.TestCase):
    tester = RSCLIPTester(infrared_tower="separate", fusion="attention", fusion_heads=2)


class RSCLIPSiglipMeanTest(RSCLIPAdaptedCase, unittest.TestCase):
    tester = RSCLIPTester(
        "siglip",
        infrared_tower="adapted",
        fusion="mean",
        loss="sigmoid",
        projection_dim=None,
        logit_bias_init_value=-10.0,
    )


class RSCaptionerTester:
    """Makes tiny captioners and prompts of one image each, RGB and infrared by turns.

    One and not two: the common tests cut pixel_values to the number of prompts.
    """

    batch_size, is_training = 8, True
    image_size, num_channels, patch_size = 32, 3, 8
    hidden_size, num_hidden_layers, num_attention_heads = 32, 2, 4
    vocab_size = VOCABULARY
    image_tokens = 4
    seq_length = encoder_seq_length = image_tokens + 5

    def __init__(self, **options):
        self.options = options

    def get_config(self) -> RSCaptionerConfig:
        return RSCaptionerConfig(
            vision_config={**VISION, "model_type": "clip_vision_model"},
            text_config={**TINY, **SPECIAL, "model_type": "llama", "num_key_value_heads": 2},
            image_token_id=IMAGE_TOKEN,
            projector_reduction=2,
            **self.options,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[RSCaptionerConfig, dict]:
        ids = random_words(self.batch_size, self.seq_length)
        ids[:, : self.image_tokens] = IMAGE_TOKEN
        return self.get_config(), {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values": random_pixels(self.batch_size, 3),
            "image_modalities": torch.tensor([[0, -1], [-1, 1]]).repeat(self.batch_size // 2, 1),
        }


class RSCaptionerCase(IncompleteCheckpointCases):
    """The common tests, as they apply to a captioner of several images per prompt."""

    tester = RSCaptionerTester()
    all_model_classes = (RSCaptionerModel, RSCaptionerForConditionalGeneration)
    _is_composite = True
    test_can_init_all_missing_weights_before_2023 = True
    test_all_params_have_gradient = False  # the tower's layers after vision_feature_layer get none
    additional_model_inputs = ("pixel_values", "image_modalities")

    def setUp(self) -> None:
        self.model_tester = self.tester
        self.config_tester = ConfigTester(
            self, RSCaptionerConfig, has_text_modality=False, common_properties=["image_token_id"]
        )

    def test_config(self) -> None:
        self.config_tester.run_common_tests()

    @unittest.skip(NO_GENERATION_MIXIN)
    def test_generation_tester_mixin_inheritance(self) -> None:
        pass


class RSCaptionerSharedTest(RSCaptionerCase, unittest.TestCase):
    pass


class RSCaptionerSeparateTest(RSCaptionerCase, unittest.TestCase):
    tester = RSCaptionerTester(infrared_tower="separate")
