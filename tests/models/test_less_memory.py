"""Pretrained networks in less memory: activations that the backward pass computes again, weights in 8 or 4 bits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import tiny_models
from conftest import make_cell
from evalbench import weights
from evalbench.cell import Cell
from evalbench.engine import checks, training
from evalbench.errors import ConfigError
from evalbench.models.quantized import BLOCK, QuantizedLinear
from plain import train as train_plainly


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.texts(tmp_path_factory.mktemp("texts") / "films.csv")


def of_texts(path: Path, model: Path, *more: str) -> Cell:
    tokens = ("dataset.text=[text]", "dataset.text_as=tokens", "dataset.text_features=64", "dataset.text_length=8")
    network = ("model=pretrained", f"model.path={model}", "optimizer.lr=0.01", "optimizer.batch_size=9")
    return make_cell(
        "dataset=csv", f"dataset.path={path}", *tokens, *network, "budget.epochs=1", "trainer.verify=false", *more
    )


@pytest.mark.parametrize("path", ["batched", "lone"])
@pytest.mark.slow
def test_activations_computed_again_change_no_bit(path: str, texts: Path, tmp_path: Path) -> None:
    model = tiny_models.bert(tmp_path, dropout=0.3, layers=2)
    cells = [
        of_texts(texts, model, "adaptation=lora", f"trainer.path={path}", f"model.gradient_checkpointing={again}")
        for again in ("false", "true")
    ]
    cohorts = [training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))[0] for cell in cells]
    peaks = [cohort.trace_memory()[0] for cohort in cohorts]
    assert peaks[1] < 0.95 * peaks[0]
    results = [training.train(cell.config, cell.dataset, cell.entrants(0, 1)) for cell in cells]
    assert [result.curve for result in results[0]] == [result.curve for result in results[1]]
    assert {result.path["name"] for result in results[1]} == {path}


def test_the_setting_is_part_of_the_identity_where_it_is_on(texts: Path, tmp_path: Path) -> None:
    model = tiny_models.bert(tmp_path)
    off, on = (of_texts(texts, model, f"model.gradient_checkpointing={on}") for on in ("false", "true"))
    assert "gradient_checkpointing" not in off.config.identity["model"]
    assert on.config.identity["model"]["gradient_checkpointing"]
    assert off.id != on.id
    with pytest.raises(ConfigError, match=r"^model.gradient_checkpointing must be true or false, not 'maybe'"):
        of_texts(texts, model, "model.gradient_checkpointing=maybe")


@pytest.mark.parametrize("bits", [8, 4])
def test_the_weights_of_a_layer_are_those_of_the_library(bits: int) -> None:
    functional = pytest.importorskip("bitsandbytes").functional
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(31, 5), torch.randn(3, 31)  # the last block is not full
    quantized = QuantizedLinear(layer, bits)
    codes, state = (
        functional.quantize_4bit(layer.weight.data, blocksize=BLOCK, quant_type="nf4", compress_statistics=False)
        if bits == 4
        else functional.quantize_blockwise(layer.weight.data, blocksize=BLOCK)
    )
    back = functional.dequantize_4bit if bits == 4 else functional.dequantize_blockwise
    assert torch.equal(quantized.weight, back(codes, state))
    torch.testing.assert_close(quantized.weight, layer.weight, atol=0.03 if bits == 4 else 0.002, rtol=0)
    assert torch.equal(quantized(inputs), torch.nn.functional.linear(inputs, quantized.weight, layer.bias))


@pytest.mark.parametrize(("adaptation", "bits"), [("lora", 4), ("bitfit", 8), ("probe", 4)])
@pytest.mark.slow
def test_adapters_train_on_a_base_in_few_bits(adaptation: str, bits: int, texts: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model = tiny_models.bert(tmp_path / "bert")
    whole, few = (
        of_texts(texts, model, f"adaptation={adaptation}", "trainer.path=batched", f"model.bits={number}", "save=all")
        for number in ("null", bits)
    )
    assert "bits" not in whole.config.identity["model"]
    assert few.code["bitsandbytes"]["bitsandbytes"]
    cohort, base = (training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))[0] for cell in (few, whole))
    assert cohort.state_bytes == base.state_bytes
    weights_of_layers = 4 * 16 * 16 + 2 * 16 * 32 + 16 * 16  # four of attention, two after it, one before the head
    if adaptation != "probe":  # which trains without its base
        sizes = 7 * 4 * 2**bits + weights_of_layers * (bits + 32 / BLOCK) / 8
        assert cohort.constant_bytes == base.constant_bytes - 4 * weights_of_layers + sizes
    results = training.train(few.config, few.dataset, few.entrants(0, 1), keep_in=tmp_path / "weights" / "cell")
    assert results[1].path["name"] == "batched"
    expected = train_plainly(few, 1).val_losses
    assert [point.val_loss for point in results[1].curve] == pytest.approx(expected, rel=1e-5)
    loaded = weights.load(tmp_path / "weights" / "cell" / "s1")
    assert any(isinstance(layer, QuantizedLinear) for layer in loaded.network.modules())
    for file in (tmp_path / "weights").rglob("*.safetensors"):
        assert not any("codes" in name for name in load_file(file))  # pretrained weights stay where they are


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("model.bits=3", "model.bits must be 8, 4 or null, not 3: for example model.bits=4"),
        ("model.bits=4 adaptation=full", "model.bits must be null where weights train, not 4: say adaptation=lora"),
        ("model.bits=8 adaptation=last_k", "model.bits must be null where weights train, not 8"),
        ("model.bits=4", "model.bits must be null where weights train, not 4"),
    ],
)
def test_weights_in_few_bits_cannot_train(settings: str, message: str, texts: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model = tiny_models.bert(tmp_path)
    with pytest.raises(ConfigError, match=f"^{message}"):
        checks.check((cell := of_texts(texts, model, *settings.split())).config, cell.dataset)
