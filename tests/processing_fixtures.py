"""Tiny tokenizers and pictures for the tests of `processing/`."""

from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SENTENCES = ["a photo of an airport seen from above", "an infrared image of ships in a harbor"]
SPECIAL_TOKENS = ["<unk>", "<pad>", "<s>", "</s>", "<image>"]


def make_tokenizer(appends_eos: bool = True, **settings: Any) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer; CLIP-like with `appends_eos`, like a causal language model without."""
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
        single="<s> $A </s>" if appends_eos else "<s> $A", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    settings = {"model_max_length": 77 if appends_eos else 4096, **settings}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
        **settings,
    )


def make_scene(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray[Any, Any]:
    """A smooth, asymmetric RGB picture (H, W, 3) in 8 bits, whose turns and flips all differ."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    phase = generator.uniform(0, 1, 3)
    waves = [np.sin(columns / 9 + 2 * phase[band]) + np.cos(rows / 7 + phase[band]) for band in range(3)]
    ramp = rows[..., None] * 1.5 + columns[..., None] * 0.7
    picture = 90 + 30 * np.stack(waves, axis=-1) + ramp + 20 * np.arange(3)
    return np.clip(picture, 0, 255).astype(np.uint8)
