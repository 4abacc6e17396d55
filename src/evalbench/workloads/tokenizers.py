"""Tokens of texts by the tokenizer of a pretrained model: `dataset.tokenizer=${model.path}`."""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.config.pretrained import check_installed, folder_of, hashes
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


def texts(texts: Sequence[str], path: str) -> list[list[int]]:
    """Return the tokens of whole texts, each with the token that ends a text; raise `ConfigError`."""
    tokenizer = _read(path)
    end = tokenizer.eos_token_id
    if end is None:
        remedy = 'add "eos_token" to its tokenizer_config.json'
        raise ConfigError("dataset.tokenizer", "must have a token that ends a text", path, remedy)
    every = tokenizer(list(texts), return_attention_mask=False)["input_ids"]
    return [tokens if tokens[-1:] == [end] else [*tokens, end] for tokens in every]


def words(
    sentences: Sequence[Sequence[str]], path: str, length: int
) -> tuple[NDArray[np.int64], list[list[int]], list[bool]]:
    """Return sentences of words as tokens `(N, length)`, the index of each word's first token, and who is cut.

    Longer sentences are cut, with the special tokens of the model kept. The index is -1 for a word that is cut off, or
    of which the tokenizer makes no token. Raises `ConfigError` for a tokenizer that cannot be used.
    """
    tokenizer = _loaded(path)
    if not tokenizer.is_fast:
        rule, remedy = "must tell which word a token belongs to", "save the model with a tokenizer.json"
        raise ConfigError("dataset.tokenizer", rule, type(tokenizer).__name__, remedy)
    space = " " if _reads_spaces(tokenizer) else ""
    cells = [[word if number == 0 else space + word for number, word in enumerate(words)] for words in sentences]
    made = tokenizer(cells, is_split_into_words=True, truncation=True, max_length=length)
    rows = np.full((len(cells), length), tokenizer.pad_token_id, dtype=np.int64)
    first_tokens = []
    for row, encoding in enumerate(made.encodings):
        rows[row, : len(encoding.ids)] = encoding.ids
        first = {word: index for index, word in reversed(list(enumerate(encoding.word_ids)))}
        first_tokens.append([first.get(word, -1) for word in range(len(cells[row]))])
    return rows, first_tokens, [bool(encoding.overflowing) for encoding in made.encodings]


def _reads_spaces(tokenizer: Any) -> bool:
    """Return whether the space before a word is a part of its tokens, which a tokenizer of bytes finds in texts."""
    parts = json.dumps(json.loads(tokenizer.backend_tokenizer.to_str())["pre_tokenizer"])
    return '"type": "ByteLevel", "add_prefix_space": false' in parts


def padding(path: str) -> int:
    """Return the token that fills rows up; raise `ConfigError` for a tokenizer that cannot be used."""
    return int(_loaded(path).pad_token_id)


def loaded(path: str) -> Any:
    """Return the tokenizer in a folder, for texts of any length; raise `ConfigError` for one that cannot be used."""
    return _loaded(path)


def vocabulary(path: str) -> int:
    """Return the number of different tokens; raise `ConfigError` for a tokenizer that cannot be used."""
    return len(_read(path))


def hash_of(path: str) -> str:
    """Return the hash of the files of a tokenizer, which may lie beside the weights of its model, or in them."""
    folder, digest = folder_of(path, key="dataset.tokenizer"), hashlib.sha256()
    for file in _files(folder):
        digest.update(repr((file.name, file.read_bytes())).encode())
    gguf_file = _gguf_file(folder)
    if gguf_file is not None:
        digest.update(repr(hashes(path, gguf_file=gguf_file)).encode())
    return digest.hexdigest()[:20]


def _files(folder: Path) -> list[Path]:
    return sorted({file for pattern in FILES for file in folder.glob(pattern)})


def _gguf_file(folder: Path) -> str | None:
    """Return the name of the file that has weights and tokenizer, if that is all that a folder has."""
    names = [file.name for file in folder.glob("*.gguf")]
    return names[0] if len(names) == 1 and not _files(folder) else None


def _loaded(path: str) -> Any:
    """Return a tokenizer that has the token of padding of its model; raise `ConfigError`."""
    tokenizer = _read(path)
    if tokenizer.pad_token_id is None:
        remedy = 'add "pad_token" to its tokenizer_config.json, and "pad_token_id" to its config.json'
        raise ConfigError("dataset.tokenizer", "must have a token of padding", path, remedy)
    file = folder_of(path, key="dataset.tokenizer") / "config.json"
    known = json.loads(file.read_text(encoding="utf-8")).get("pad_token_id") if file.is_file() else None
    if known not in (None, tokenizer.pad_token_id):
        rule = f"must have the token of padding of the model, which is {known}"
        raise ConfigError("dataset.tokenizer", rule, tokenizer.pad_token_id, "correct pad_token_id in config.json")
    return tokenizer


@lru_cache(maxsize=4)
def _read(path: str) -> Any:
    check_installed("dataset.tokenizer", "transformers")
    from transformers import AutoTokenizer

    folder = folder_of(path, key="dataset.tokenizer")
    gguf_file = _gguf_file(folder)
    settings: dict[str, Any] = {} if gguf_file is None else {"gguf_file": gguf_file}
    settings |= {"use_fast": True, "padding_side": "right", "model_max_length": 10**9}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **settings)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError("dataset.tokenizer", "must be the folder of a tokenizer", path, reason) from error
    return tokenizer
