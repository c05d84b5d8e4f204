"""Byte-pair tokenizers learnt from captions, for models that start from random weights."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, START, END, IMAGE = "<pad>", "<s>", "</s>", "<image>"


def learn_clip_tokenizer(captions: Iterable[str], vocabulary: int, text_tokens: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose texts start and end with a mark, as CLIP's do; the tower pools at the end mark."""
    tokenizer = _learn(captions, vocabulary - 1, [PAD, START])
    # The largest number, as in CLIP's vocabulary: transformers pools at the largest one where the end mark's is 2.
    tokenizer.add_special_tokens([END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 1), (END, tokenizer.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=START, eos_token=END, model_max_length=text_tokens
    )


def learn_language_tokenizer(captions: Iterable[str], vocabulary: int, tokens: int) -> PreTrainedTokenizerFast:
    """A tokenizer for a causal language model: prompts start with a mark and stay open; one token holds an image."""
    tokenizer = _learn(captions, vocabulary, [PAD, START, END, IMAGE])
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        additional_special_tokens=[IMAGE],
        model_max_length=tokens,
    )


def _learn(captions: Iterable[str], vocabulary: int, special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer
