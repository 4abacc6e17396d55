"""Networks of Transformers of a few KB, saved as their authors would, and texts to adapt them to."""

from pathlib import Path
from typing import Any

import torch

SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = ("good", "fine", "great", "bad", "poor", "awful", "the", "film", "was", "plot", "very", "not")


def save(folder: Path, network: Any) -> Path:
    """Save a network with weights that are larger than new ones, so that its outputs depend on the inputs."""
    with torch.no_grad():
        for value in network.parameters():
            value += 0.1 * torch.randn_like(value)
    network.save_pretrained(folder)
    return folder


def bert(folder: Path, dropout: float = 0.1, layers: int = 1) -> Path:
    """Save an encoder without a head."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    rates: dict[str, Any] = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    sizes = {**SMALL, "num_hidden_layers": layers}
    return save(folder, BertModel(BertConfig(vocab_size=80, max_position_embeddings=32, **sizes, **rates)))


def tokenizer(folder: Path, **settings: Any) -> Path:
    """Save a tokenizer that knows a few words and splits others into letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = [mark + letter for mark in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz"[:12]]
    known = {token: number for number, token in enumerate([*special, *WORDS, *letters])}
    made = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", known["[CLS]"]), ("[SEP]", known["[SEP]"])]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", **settings}
    wrapper: Any = PreTrainedTokenizerFast
    wrapper(tokenizer_object=made, **names).save_pretrained(folder)
    return folder


def llama(folder: Path) -> Path:
    """Save a decoder with its head."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return save(folder, LlamaForCausalLM(LlamaConfig(vocab_size=128, pad_token_id=0, **SMALL)))


def gpt2(folder: Path) -> Path:
    """Save a decoder with its head, which counts positions."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
    return save(folder, GPT2LMHeadModel(GPT2Config(vocab_size=128, pad_token_id=0, eos_token_id=3, **sizes)))


def vit(folder: Path) -> Path:
    """Save an encoder of images of 8 × 8 pixels without a head."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    return save(folder, ViTModel(ViTConfig(image_size=8, patch_size=4, num_channels=1, **SMALL)))


def answers(path: Path, rows: int = 40, question: str = "text") -> Path:
    """Write a table of short texts, and of answers of one or two words that their first word tells."""
    lines = [f"{question},answer"]
    for row in range(rows):
        words = [WORDS[(5 * row + place) % len(WORDS)] for place in range(1 + row % 3)]
        lines.append(f"{WORDS[row % 6]} {' '.join(words)},{'good film' if row % 6 < 3 else 'bad'}")
    path.write_text("\n".join(lines) + "\n")
    return path


def texts(path: Path, rows: int = 60) -> Path:
    """Write a table of short texts, of which the first three words decide the class."""
    lines = ["text,label"]
    for row in range(rows):
        words = [WORDS[(row * (3 + 2 * place) + place) % len(WORDS)] for place in range(3 + row % 5)]
        words.insert(0, WORDS[row % 6])
        lines.append(f"{' '.join(words)},{'yes' if row % 6 < 3 else 'no'}")
    path.write_text("\n".join(lines) + "\n")
    return path
