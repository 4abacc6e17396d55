"""Try each technique of adaptation on small networks of many architectures: which train as one batched model?

`cd tests && python architectures.py` writes the table into `docs/large-models.md`, in ten minutes. It says `cohort`
where the trials train as one batched model, and `alone` where they train one after another. In both cases the losses
are those of a lone trial and of a plain PyTorch loop. A star stands for `adaptation.target_modules=all-linear`.
"""

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_models
from conftest import make_cell
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.errors import ConfigError
from plain import train as train_plainly

PAGE = Path(__file__).parents[1] / "docs" / "large-models.md"
MARKERS = ("<!-- architectures: written by tests/architectures.py -->", "<!-- end of architectures -->")
TOLERANCE = 1e-5
ALL_LINEAR = "adaptation.target_modules=all-linear"
LAYERS: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LENGTH: dict[str, Any] = {"vocab_size": 80, "max_position_embeddings": 64}
GROUPED: dict[str, Any] = {"num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0}
PIXELS: dict[str, Any] = {"image_size": 8, "num_channels": 1}
TEXT: dict[str, dict[str, Any]] = {
    "Bert": {**LAYERS, **LENGTH},
    "Roberta": {**LAYERS, **LENGTH, "pad_token_id": 0},
    "XLMRoberta": {**LAYERS, **LENGTH, "pad_token_id": 0},
    "DistilBert": {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, **LENGTH},
    "Albert": {**LAYERS, **LENGTH, "embedding_size": 8},
    "Electra": {**LAYERS, **LENGTH, "embedding_size": 8},
    "MPNet": {**LAYERS, **LENGTH, "pad_token_id": 0},
    "DebertaV2": {**LAYERS, **LENGTH, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "ModernBert": {**LAYERS, **LENGTH, "pad_token_id": 0},
    "GPT2": {"vocab_size": 80, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "pad_token_id": 0},
    "GPTNeoX": {**LAYERS, **LENGTH, "pad_token_id": 0},
    "OPT": {**LAYERS, **LENGTH, "ffn_dim": 32, "word_embed_proj_dim": 16, "pad_token_id": 0},
    "Bloom": {"vocab_size": 80, "hidden_size": 16, "n_layer": 2, "n_head": 2, "pad_token_id": 0},
    "Llama": {**LAYERS, **LENGTH, **GROUPED},
    "Mistral": {**LAYERS, **LENGTH, **GROUPED},
    "Qwen2": {**LAYERS, **LENGTH, **GROUPED},
    "Qwen3": {**LAYERS, **LENGTH, **GROUPED},
    "Gemma2": {**LAYERS, **LENGTH, **GROUPED},
    "Phi3": {**LAYERS, **LENGTH, "num_key_value_heads": 1, "pad_token_id": 0},
    "SmolLM3": {**LAYERS, **LENGTH, **GROUPED},
}
"""By the name of an architecture, the settings of its small network of text."""
IMAGES: dict[str, dict[str, Any]] = {
    "ViT": {**LAYERS, **PIXELS, "patch_size": 4},
    "DeiT": {**LAYERS, **PIXELS, "patch_size": 4},
    "Beit": {**LAYERS, **PIXELS, "patch_size": 4},
    "Dinov2": {**LAYERS, **PIXELS, "patch_size": 4},
    "Swin": {**PIXELS, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2},
    "ConvNext": {**PIXELS, "patch_size": 2, "depths": [1, 1], "hidden_sizes": [8, 16], "num_stages": 2},
}
"""The same of images."""
TECHNIQUES = ("full", "probe", "bitfit", "layernorm", "last_k", "lora", "dora", "ia3", "prompt")


def saved(folder: Path, name: str) -> Path:
    """Save a small network of an architecture, with drawn weights."""
    import transformers

    torch.manual_seed(0)
    settings = {**TEXT, **IMAGES}[name]
    auto: Any = transformers.AutoModel
    return tiny_models.save(folder, auto.from_config(getattr(transformers, f"{name}Config")(**settings)))


def cell_of(model: Path, name: str, technique: str, texts: Path, *more: str) -> Cell:
    """Return the cell of a technique on an architecture."""
    tokens = ("dataset.text=[text]", "dataset.text_as=tokens", "dataset.text_features=64", "dataset.text_length=8")
    if name in IMAGES:
        source: tuple[str, ...] = ("dataset=digits", "optimizer.batch_size=113")
    else:
        source = ("dataset=csv", f"dataset.path={texts}", *tokens, "optimizer.batch_size=9")
    network = ("model=pretrained", f"model.path={model}", f"adaptation={technique}", "optimizer.lr=0.01")
    return make_cell(*source, *network, "budget.epochs=1", "trainer.verify=false", *more)


def outcome(model: Path, name: str, technique: str, texts: Path) -> str:
    """Return how the trials of a technique train, or a dash and the reason why they do not."""
    try:
        return trained(cell_of(model, name, technique, texts))
    except ConfigError as error:
        reason = str(error)
    _, layers_unknown, _ = reason.partition(ALL_LINEAR)
    if not layers_unknown:
        return f"– {reason}"
    layers = [f"++{ALL_LINEAR}", *(["+adaptation.feedforward_modules=[]"] if technique == "ia3" else [])]
    return f"{trained(cell_of(model, name, technique, texts, *layers))}, all-linear"


def trained(cell: Cell) -> str:
    """Return how two trials train; raise `AssertionError` if one has other losses by itself or in plain PyTorch."""
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1))[1]
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    losses = [[point.val_loss for point in result.curve] for result in (together, alone)]
    for one in (losses[1], train_plainly(cell, 1).val_losses):
        assert one == pytest.approx(losses[0], rel=TOLERANCE)
    assert together.path is not None
    return "alone" if together.path["name"] == "one by one" else "cohort"


def row(folder: Path, name: str, texts: Path) -> str:
    """Return the row of an architecture; print why a technique does not fit it."""
    model, cells = saved(folder / name, name), []
    for technique in TECHNIQUES:
        try:
            ended = outcome(model, name, technique, texts)
        except RuntimeError as error:  # without the checks that come before a training
            ended = f"– {error}"
        print(f"{name}, {technique}: {ended}", flush=True)
        cells.append(ended.split()[0].replace(",", "*") if ended.startswith(("cohort", "alone")) else "–")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Write the table into the page."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = tiny_models.texts(folder / "films.csv")
        rows = [row(folder, architecture, texts) for architecture in (*TEXT, *IMAGES)]
    head = [f"| architecture | {' | '.join(TECHNIQUES)} |", f"| :-- | {' | '.join([':--'] * len(TECHNIQUES))} |"]
    before, _, rest = PAGE.read_text().partition(MARKERS[0])
    PAGE.write_text("\n".join([before + MARKERS[0], *head, *rows, MARKERS[1] + rest.partition(MARKERS[1])[2]]))


if __name__ == "__main__":
    main()
