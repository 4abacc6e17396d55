"""Tokens of texts by the tokenizer of a pretrained model: `dataset.tokenizer=${model.path}`."""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.config.pretrained import check_installed, folder_of
from evalbench.errors import ConfigError

FILES = ("*token*.json", "vocab*", "merges.txt", "*.model")
"""The files of a folder that a tokenizer is made of."""
NO_FILES = hashlib.sha256().hexdigest()[:20]
"""The hash of a folder without such files."""


def tokens(texts: Sequence[str], path: str, length: int) -> tuple[NDArray[np.int64], int]:
    """Return texts as tokens `(N, length)`, filled up with the token of padding, and how many texts are longer.

    Longer texts are cut, with the special tokens of the model kept. Raises `ConfigError` for a tokenizer that cannot be
    used.
    """
    tokenizer = _loaded(path)
    rows = np.full((len(texts), length), tokenizer.pad_token_id, dtype=np.int64)
    cut = 0
    whole = tokenizer(list(texts), add_special_tokens=True, return_attention_mask=False)["input_ids"]
    short = tokenizer(list(texts), truncation=True, max_length=length, return_attention_mask=False)["input_ids"]
    for row, (every, kept) in enumerate(zip(whole, short, strict=True)):
        rows[row, : len(kept)] = kept
        cut += len(every) > length
    return rows, cut


def loaded(path: str) -> Any:
    """Return the tokenizer in a folder, for texts of any length; raise `ConfigError` for one that cannot be used."""
    return _loaded(path)


def vocabulary(path: str) -> int:
    """Return the number of different tokens; raise `ConfigError` for a tokenizer that cannot be used."""
    return len(_loaded(path))


def hash_of(path: str) -> str:
    """Return the hash of the files of a tokenizer, which may lie beside the weights of its model."""
    folder, digest = folder_of(path, key="dataset.tokenizer"), hashlib.sha256()
    for file in sorted({file for pattern in FILES for file in folder.glob(pattern)}):
        digest.update(repr((file.name, file.read_bytes())).encode())
    return digest.hexdigest()[:20]


@lru_cache(maxsize=4)
def _loaded(path: str) -> Any:
    check_installed("dataset.tokenizer", "transformers")
    from transformers import AutoTokenizer

    folder = folder_of(path, key="dataset.tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, padding_side="right", model_max_length=10**9)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError("dataset.tokenizer", "must be the folder of a tokenizer", path, reason) from error
    if tokenizer.pad_token_id is None:
        remedy = 'add "pad_token" to its tokenizer_config.json, and "pad_token_id" to its config.json'
        raise ConfigError("dataset.tokenizer", "must have a token of padding", path, remedy)
    file = folder / "config.json"
    known = json.loads(file.read_text(encoding="utf-8")).get("pad_token_id") if file.is_file() else None
    if known not in (None, tokenizer.pad_token_id):
        rule = f"must have the token of padding of the model, which is {known}"
        raise ConfigError("dataset.tokenizer", rule, tokenizer.pad_token_id, "correct pad_token_id in config.json")
    return tokenizer
