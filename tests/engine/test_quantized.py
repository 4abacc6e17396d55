"""Networks of 8-bit numbers: the file that is kept predicts what was judged, each row by itself."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import tiny_models
from conftest import make_cell
from evalbench import cell as cells
from evalbench import cost, weights
from evalbench.cell import Cell
from evalbench.convert.__main__ import main as convert
from evalbench.engine import quantized as quantized_engine
from evalbench.engine import training
from evalbench.errors import ConfigError, DataError
from evalbench.seeds import Phase
from evalbench.weights import onnx_graphs
from evalbench.workloads import fit_scaling

SMALL = ("model.width=128", "model.depth=1", "budget.epochs=1", "optimizer.batch_size=32", "save=all")


def quantized(option: str, *overrides: str) -> Cell:
    return make_cell("dataset=wine", f"compression={option}", *SMALL, *overrides)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["int8_dynamic", "int8_static"])
def test_the_file_that_is_kept_predicts_what_was_judged(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = quantized(option)
    cells.check(cell)
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=tmp_path)
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    assert alone.metrics == pytest.approx(results[1].metrics, rel=1e-2)
    plain = quantized("none")
    whole = training.train(plain.config, plain.dataset, plain.entrants(0, 1))
    assert [one.curve for one in results] == [one.curve for one in whole]  # the epoch is chosen before
    assert results != whole
    assert cell.id != plain.id

    file, split = tmp_path / "s1/network.onnx", cell.split(1)
    held = {tensor.data_type for tensor in onnx.load(file).graph.initializer if len(tensor.dims) > 1}
    assert held == {onnx.TensorProto.INT8}
    scaling = fit_scaling(cell.dataset, split.train)
    inputs = scaling.inputs(cell.dataset, split.test).astype(np.float32)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    outputs = np.concatenate([session.run(None, {"inputs": row[None]})[0] for row in inputs])
    predictions = cell.dataset.kind.predict(torch.as_tensor(outputs)).numpy()
    assert cell.dataset.evaluate(predictions, cell.dataset.targets[split.test]) == pytest.approx(results[1].metrics)

    model = weights.load(tmp_path / "s1")
    rows = torch.as_tensor(cell.dataset.inputs[split.test], dtype=torch.float32)
    np.testing.assert_allclose(model(rows).numpy(), predictions, rtol=1e-5)
    assert torch.equal(model(rows)[3:4], model(rows[3:4]))  # no row depends on the others
    assert convert([str(tmp_path / "s1"), "--to", "onnx", "--output", str(tmp_path / "out")]) == 2
    assert "is a file of ONNX already" in capsys.readouterr().err
    file.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"network.onnx: must be a file of ONNX"):
        weights.load(tmp_path / "s1")


@pytest.mark.slow
def test_the_whole_pretrained_network_is_quantized_also_if_a_probe_trains(tmp_path: Path) -> None:
    bert = tiny_models.tokenizer(tiny_models.bert(tmp_path / "bert"))
    texts = tiny_models.texts(tmp_path / "films.csv")
    tokens = (
        "dataset.text=[text]",
        "dataset.text_as=tokens",
        "dataset.tokenizer=${model.path}",
        "dataset.text_length=8",
    )
    network = (
        "model=pretrained",
        f"model.path={bert}",
        "adaptation=probe",
        "optimizer.lr=0.01",
        "budget.epochs=1",
    )
    cell = make_cell("dataset=csv", f"dataset.path={texts}", *tokens, *network, "compression=int8_dynamic", "save=all")
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=tmp_path / "cell")
    for seed, result in enumerate(results):
        rows = cell.split(seed).test
        predicted = weights.load(tmp_path / f"cell/s{seed}")(torch.as_tensor(cell.dataset.inputs[rows])).numpy()
        assert cell.dataset.evaluate(predicted, cell.dataset.targets[rows]) == pytest.approx(result.metrics)
    assert not (tmp_path / weights.BASES).exists()
    held = onnx.load(tmp_path / "cell/s0/network.onnx").graph.initializer
    assert sum(tensor.data_type == onnx.TensorProto.INT8 for tensor in held) >= 7


def test_whole_numbers_stay_whole_and_others_have_32_bits() -> None:
    arrays = [quantized_engine._array(value) for value in (torch.arange(3), torch.ones(3, dtype=torch.bfloat16))]
    assert [array.dtype for array in arrays] == [np.int64, np.float32]


@pytest.mark.slow
def test_a_candidate_is_judged_on_its_validation_rows() -> None:
    cell = quantized("int8_dynamic", "+search=random").at({}, Phase.TUNE)
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert set(result.metrics) >= {"val/accuracy"}


@pytest.mark.slow
def test_sizes_and_times_are_those_of_the_kept_network() -> None:
    factor = ("evaluation.factor=compression", "compression.sparsity=0.9")
    options = ("none", "magnitude_pruning", "int8_dynamic")
    compared = [quantized(option, *factor) for option in options]
    passes = cost.measure([(cell.config, cell.dataset) for cell in compared], 1)
    none, pruned, int8 = (one for (one,) in passes)
    parameters = 13 * 128 + 128 + 128 * 3 + 3
    assert none.model_bytes == pruned.model_bytes
    assert 4 * parameters < (none.model_bytes or 0) < 4 * parameters + 500
    assert (pruned.compressed_bytes or 0) < 0.4 * (none.compressed_bytes or 0)
    assert (int8.model_bytes or 0) < (none.model_bytes or 0)
    assert int8.graph_seconds == int8.inference_seconds
    assert (none.graph_seconds or 0) > 0
    alone = quantized("none")
    ((unasked,),) = cost.measure([(alone.config, alone.dataset)], 1)
    assert (unasked.model_bytes, unasked.compressed_bytes) == (None, None)
    assert quantized_engine.graph_of(alone.config, alone.dataset, nn.Linear(13, 3), alone.split(0)) is None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("trainer.precision=64-true",), "compression must be none with trainer.precision=64-true"),
        (("compression.per_channel=1",), "compression.per_channel must be true or false, not 1"),
        (
            ("compression.calibration_rows=0",),
            "compression.calibration_rows must be a whole number of at least 1, not 0",
        ),
    ],
)
def test_wrong_settings_are_refused_in_one_line(overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        cells.check(quantized("int8_static", *overrides))


def test_what_cannot_become_a_graph_is_refused_before_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = quantized("int8_dynamic", "model.width=17")

    def raises(*_: object) -> None:
        raise RuntimeError("data-dependent\nand more")

    monkeypatch.setattr(onnx_graphs, "program_of", raises)
    with pytest.raises(ConfigError, match=r"a network that cannot become an ONNX graph \(data-dependent\): choose"):
        cells.check(cell)
    monkeypatch.setattr(onnx_graphs, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(ConfigError, match=r"compression needs the package onnxruntime, .*: pip install 'evalbench-dl"):
        cells.check(cell)
