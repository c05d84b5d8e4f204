"""Wires transformers' common processor and image processor tests to ours.

Run by `python -m tests.conformance_run`: here `tests` is the package of transformers' source distribution.
"""

import unittest
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image
from tests.test_image_processing_common import ImageProcessingTester, ImageProcessingTestMixin
from tests.test_processing_common import ProcessorTesterMixin
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from processing import RSCaptionerProcessor, RSCLIPProcessor, RSImageProcessor

FOUR_BANDS = "four bands are refused until the caller says which of them is alpha or near infrared"
SPECIAL_TOKENS = ["<unk>", "<pad>", "<s>", "</s>", "<image>"]
SENTENCES = ["a photo of an airport seen from above", "an infrared image of ships in a harbor", "USER: ASSISTANT:"]


def tiny_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer, so that every text of the common tests can be encoded and decoded.

    Args:
        template: What is put around a text, e.g. `<s> $A </s>`.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 10, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )


def random_image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def urls_as_paths(chats: Any) -> Any:
    if isinstance(chats, dict):
        return {"path" if key == "url" else key: urls_as_paths(value) for key, value in chats.items()}
    return [urls_as_paths(item) for item in chats] if isinstance(chats, list) else chats


class ProcessorCase(ProcessorTesterMixin):
    """The common tests on processors made of our image processor and a tiny tokenizer."""

    text_template = "<s> $A </s>"

    @classmethod
    def setUpClass(cls) -> None:
        # Saving a class of remote code writes `auto_map` into the instance, so that it differs from its reloaded self.
        for saved in (cls.processor_class, RSImageProcessor):
            cls.enterClassContext(patch.object(saved, "_auto_class", None))
        super().setUpClass()

    @classmethod
    def _setup_image_processor(cls) -> RSImageProcessor:
        return RSImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})

    @classmethod
    def _setup_tokenizer(cls) -> PreTrainedTokenizerFast:
        return tiny_tokenizer(cls.text_template)

    def prepare_images_inputs(self, batch_size: int | None = None, nested: bool = False) -> Any:
        """Images of 64 x 48 pixels: the common ones, of 400 x 30, are refused as too narrow."""
        with patch("tests.test_processing_common.prepare_images_inputs", lambda: [random_image()]):
            return super().prepare_images_inputs(batch_size, nested)


class RSCLIPProcessorTest(ProcessorCase, unittest.TestCase):
    processor_class = RSCLIPProcessor

    def test_model_input_names(self) -> None:
        """Passes all four inputs: the common test knows of two."""
        image = self.prepare_images_inputs()
        inputs = self.get_processor()(
            images=image, text="ships", infrared=image.convert("L"), infrared_text="warm ships"
        )
        assert set(inputs) == set(self.get_processor().model_input_names)


class RSCaptionerProcessorTest(ProcessorCase, unittest.TestCase):
    processor_class = RSCaptionerProcessor
    text_template = "<s> $A"

    def setUp(self) -> None:
        # The common tests name local files under `url`; ours reads files under `path` alone, and no URLs.
        apply_chat_template = RSCaptionerProcessor.apply_chat_template
        self.enterContext(
            patch.object(
                RSCaptionerProcessor,
                "apply_chat_template",
                lambda self, chats, *args, **kwargs: apply_chat_template(self, urls_as_paths(chats), *args, **kwargs),
            )
        )

    @staticmethod
    def prepare_processor_dict() -> dict[str, Any]:
        return {"num_image_tokens": 4}


class RSImageProcessingTester(ImageProcessingTester):
    """Makes images, and says what becomes of them."""

    def __init__(self, parent: unittest.TestCase, **options: Any):
        # No narrower than 60 x 400 pixels: what is longer than 8 of its short sides is refused.
        defaults = {"min_resolution": 60, "size": {"shortest_edge": 20}, "crop_size": {"height": 18, "width": 18}}
        super().__init__(parent, **{**defaults, **options})

    def _get_image_processing_classes(self) -> dict[str, type]:
        return {"torchvision": RSImageProcessor}  # it computes on tensors: the cases of this backend apply


class RSImageProcessorTest(ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = RSImageProcessingTester

    @unittest.skip(FOUR_BANDS)
    def test_call_numpy_4_channels(self) -> None:
        pass

    @unittest.skip(FOUR_BANDS)
    def test_convert_to_rgb_mixed_input_batch_2(self) -> None:
        pass
