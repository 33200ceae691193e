"""A small text encoder: a word-level tokenizer and a two-layer transformer, both in `transformers`' own classes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

UNKNOWN, START, END = "[UNK]", "[START]", "[END]"


def build_tokenizer(vocabulary: Sequence[str], length: int = 16) -> Any:
    """A word-level tokenizer: lower case, punctuation ignored, `length` tokens a prompt.

    Returns:
        A `transformers.PreTrainedTokenizerFast`, to be kept with `save_pretrained`.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [UNKNOWN, START, END, *sorted(set(vocabulary))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"[^\w\s]|_"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 1), (END, 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=length,
    )


def build_text_encoder(tokenizer: Any, width: int = 128, layers: int = 2) -> Any:
    """A randomly initialised `transformers.CLIPTextModel` for this tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def encode(tokenizer: Any, text_encoder: Any, prompts: Sequence[str]) -> torch.Tensor:
    """Prompts to embeddings (n, length, width); a prompt too long for the tokenizer is cut."""
    tokens = tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt")
    embeddings: torch.Tensor = text_encoder(tokens.input_ids.to(text_encoder.device)).last_hidden_state
    return embeddings


def unknown_words(tokenizer: Any, prompt: str) -> list[str]:
    """The words of a prompt that the tokenizer does not know, in order, each once."""
    normal = tokenizer.backend_tokenizer.normalizer.normalize_str(prompt)
    known = tokenizer.get_vocab()
    return list(dict.fromkeys(word for word in normal.split() if word not in known))


def vocabulary(tokenizer: Any) -> list[str]:
    """The words that a prompt may use, sorted."""
    return _words(tokenizer.get_vocab())


def saved_vocabulary(folder: Path) -> list[str]:
    """The same of a saved tokenizer, without the library that would load it.

    Raises:
        OSError: its file is missing.
        ValueError: its file is damaged.
    """
    try:
        return _words(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    except (LookupError, TypeError) as error:
        raise ValueError(f"{folder / 'tokenizer.json'} is not a tokenizer: no model.vocab") from error


def _words(vocab: Iterable[str]) -> list[str]:
    return sorted(set(vocab) - {UNKNOWN, START, END})
