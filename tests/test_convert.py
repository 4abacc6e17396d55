"""A converted model predicts what the saved one does, as the programs that it is for load it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, load_model
from torch import Tensor

import tiny_models
from conftest import make_cell
from evalbench import models, weights, workloads
from evalbench.convert import FORMATS, conversion, graphs
from evalbench.convert.__main__ import main
from evalbench.convert.trained import Trained, Written
from evalbench.engine import training
from evalbench.weights import onnx_graphs
from evalbench.workloads import Dataset

SHORT = ("budget=steps", "budget.steps=2", "budget.validations=1", "save=all", "trainer.verify=false")


def saved(folder: Path, *overrides: str) -> tuple[Dataset, Path]:
    """Train and save one trial; return its data set, and the folder of its model."""
    cell = make_cell(*overrides, *SHORT)
    training.train(cell.config, cell.dataset, cell.entrants(0), keep_in=folder)
    return cell.dataset, folder / "s0"


def adapted(folder: Path, model: Path, *overrides: str) -> tuple[Dataset, Path]:
    """Train and save a pretrained network that was adapted to the texts of a table."""
    texts = ("dataset=csv", f"dataset.path={folder / 'films.csv'}", "dataset.text=[text]", "dataset.text_as=tokens")
    tokens = ("dataset.tokenizer=${model.path}", "dataset.text_length=8", "optimizer.lr=0.05")
    return saved(folder / "kept", *texts, *tokens, "model=pretrained", f"model.path={model}", *overrides)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tokenizer(tiny_models.bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    """A network for a table with missing values and a column of categories, which is encoded by means of the target."""
    folder = tmp_path_factory.mktemp("table")
    lines = [f"{row % 7 or ''},c{row % 40},{row * 1.5},{row % 3}" for row in range(160)]
    (folder / "table.csv").write_text("\n".join(["a,city,b,label", *lines]))
    data = ("dataset=csv", f"dataset.path={folder}/table.csv", "dataset.high_cardinality=target", "model.width=8")
    return saved(folder / "kept", *data)


def rows_of(dataset: Dataset) -> Tensor:
    return torch.as_tensor(dataset.inputs)


@pytest.mark.slow
def test_a_graph_takes_rows_as_the_data_set_holds_them(table: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, path = table
    rows = rows_of(dataset)
    assert rows.isnan().any()
    expected = weights.load(path)(rows).detach()
    for to in ("onnx", "torch-export"):
        assert main([str(path), "--to", to, "--output", str(tmp_path / to)]) == 0
    program = torch.export.load(tmp_path / "torch-export" / graphs.PROGRAM).module()
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / graphs.ONNX)
    for part in (rows, rows[:1], rows[:7]):
        assert torch.allclose(program(part), expected[: len(part)])
        (predicted,) = session.run(["predictions"], {"rows": part.numpy()})
        np.testing.assert_allclose(predicted, expected[: len(part)], atol=1e-6)
    about = json.loads((tmp_path / "onnx" / conversion.ABOUT).read_text())
    assert about["inputs"]["features"] == list(dataset.features)
    assert (about["inputs"]["type"], about["inputs"]["scaling"]) == ("float32", None)
    assert about["outputs"]["classes"] == list(dataset.classes)
    assert about["check"]["of"] == "rows of the data set"


def test_weights_load_into_the_users_own_class_with_what_scales_its_inputs(tmp_path: Path) -> None:
    dataset, path = saved(tmp_path / "kept", "dataset=diabetes", "model.width=8")
    assert main([str(path), "--to", "safetensors", "--output", str(tmp_path / "out")]) == 0
    config = make_cell("dataset=diabetes", "model.width=8").config
    network = models.build_seeded(1, config.model, config.activation, (len(dataset.features), 1)).eval()
    load_model(network, tmp_path / "out" / "model.safetensors")
    scaling = load_file(tmp_path / "out" / "scaling.safetensors")
    rows = rows_of(dataset)
    inputs = (rows - scaling["mean"]) / scaling["std"]
    predicted = network(inputs)[:, 0] * scaling["target_std"] + scaling["target_mean"]
    assert torch.allclose(predicted.double(), weights.load(path)(rows), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.slow
@pytest.mark.parametrize("adaptation", ["lora", "prompt"])
def test_peft_loads_an_adapter_with_its_head(
    bert: Path, tmp_path: Path, adaptation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import peft
    from transformers import AutoModelForSequenceClassification

    tiny_models.texts(tmp_path / "films.csv")
    dataset, path = adapted(tmp_path, bert, f"adaptation={adaptation}")
    out = tmp_path / "out"
    assert main([str(path), "--to", "peft", "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"needs: {bert} (config.json " in said
    assert {file.name for file in out.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert main([str(path), "--to", "safetensors", "--output", str(tmp_path / "whole")]) == 2
    assert "use --to peft, which keeps the added tensors alone; the adaptation is peft." in capsys.readouterr().err
    base = AutoModelForSequenceClassification.from_pretrained(bert, num_labels=2, dtype="float32")
    network = peft.PeftModel.from_pretrained(base, out).eval()
    rows = rows_of(dataset)
    predicted = network(input_ids=rows, attention_mask=(rows != 0).long()).logits.softmax(-1)
    assert torch.allclose(predicted.double(), weights.load(path)(rows), atol=1e-6)
    (loading,) = re.findall(r"^load: (.*)$", said, re.MULTILINE)
    names = {"PeftModel": peft.PeftModel, "AutoModelForSequenceClassification": AutoModelForSequenceClassification}
    assert torch.equal(eval(loading, names).eval()(rows).logits, network(rows).logits)


@pytest.mark.slow
def test_a_pipeline_of_transformers_takes_texts(bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import transformers

    tiny_models.texts(tmp_path / "films.csv")
    _, path = adapted(tmp_path, bert, "adaptation=full")
    assert main([str(path), "--to", "safetensors", "--output", str(tmp_path / "out")]) == 0
    assert main([str(path), "--to", "peft", "--output", str(tmp_path / "adapter")]) == 2
    assert "use --to safetensors, which keeps the whole network; the adaptation is evalbench" in capsys.readouterr().err
    assert not (tmp_path / "adapter").exists()
    pipeline: Any = transformers.pipeline("text-classification", str(tmp_path / "out"), top_k=None)
    texts = ["good film", "the plot was bad", "awful awful awful not very fine great poor film the plot was bad"]
    (tmp_path / "new.csv").write_text("\n".join(["text", *texts]))
    with pytest.warns(UserWarning, match="1 of 3 texts are longer"):
        expected = weights.load(path).predict(tmp_path / "new.csv")
    given = [{one["label"]: one["score"] for one in scores} for scores in pipeline(texts, truncation=True)]
    assert [one["yes"] for one in given] == pytest.approx(list(expected["probability: yes"]), abs=1e-6)
    assert [one["no"] for one in given] == pytest.approx(list(expected["probability: no"]), abs=1e-6)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.slow
def test_transformers_give_numbers_in_the_targets_own_unit(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForSequenceClassification

    lines = tiny_models.texts(tmp_path / "films.csv").read_text().splitlines()
    numbers = [f"{line.split(',')[0]},{row * 1.5 + 900}" for row, line in enumerate(lines)]
    (tmp_path / "films.csv").write_text("\n".join(["text,price", *numbers[1:]]))
    dataset, path = adapted(tmp_path, bert, "adaptation=probe", "dataset.kind=regression")
    (tmp_path / "films.csv").unlink()
    monkeypatch.setattr(workloads, "_loaded", {})  # as in another process
    assert main([str(path), "--to", "safetensors", "--output", str(tmp_path / "out")]) == 0
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    rows = rows_of(dataset)
    predicted = network(input_ids=rows, attention_mask=(rows != 0).long()).logits[:, 0].double()
    assert torch.allclose(predicted, weights.load(path)(rows), rtol=1e-6)
    assert network.config.problem_type == "regression"
    about = json.loads((tmp_path / "out" / conversion.ABOUT).read_text())
    assert about["check"]["of"] == "made-up rows, because the data set cannot be read here"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_images_are_scaled_as_in_training(tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForImageClassification

    vit = tiny_models.vit(tmp_path / "vit")
    network = ("model=pretrained", f"model.path={vit}", "adaptation=lora", "adaptation.target_modules=all-linear")
    dataset, path = saved(tmp_path / "kept", "dataset=digits", *network)
    assert main([str(path), "--to", "peft", "--output", str(tmp_path / "out")]) == 0
    base = AutoModelForImageClassification.from_pretrained(vit, num_labels=10, dtype="float32")
    scaling, rows = load_file(tmp_path / "out" / "scaling.safetensors"), rows_of(dataset)[:50]
    pixels = ((rows - scaling["mean"]) / scaling["std"]).reshape(-1, 1, 8, 8)
    predicted = peft.PeftModel.from_pretrained(base, tmp_path / "out").eval()(pixel_values=pixels).logits.softmax(-1)
    assert torch.allclose(predicted.double(), weights.load(path)(rows), atol=1e-6)


@pytest.mark.parametrize(
    ("to", "change", "reason"),
    [
        ("peft", {}, "--to peft takes a network of model=pretrained: use --to safetensors, torch-export or onnx"),
        ("onnx", {"engine": "sklearn"}, "an estimator is no network that could be converted: evalbench predict uses"),
        ("onnx", {"output": "full"}, "--output must be a new or an empty folder, not"),
        ("onnx", {"output": "no/out"}, "--output must be in a folder that exists, not"),
        ("onnx", {"absent": "onnxscript"}, "needs the package onnxscript, which is not installed: pip install 'evalb"),
    ],
)
def test_what_cannot_be_converted_is_said_in_one_line(
    table: tuple[Dataset, Path],
    tmp_path: Path,
    to: str,
    change: dict[str, str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    path = Path(shutil.copytree(table[1], tmp_path / "cell" / "s0"))
    described = json.loads((path / weights.DESCRIPTION).read_text())
    (path / weights.DESCRIPTION).write_text(json.dumps({**described, **change}))
    monkeypatch.setattr(onnx_graphs, "find_spec", lambda name: None if name == change.get("absent") else name)
    before = sorted(tmp_path.rglob("*"))
    assert main([str(path), "--to", to, "--output", str(tmp_path / change.get("output", "out"))]) == 2
    line = capsys.readouterr().err
    assert (reason in line, line.count("\n")) == (True, 1), line
    assert sorted(tmp_path.rglob("*")) == before


def test_no_foreign_code_runs_for_the_rows_of_the_check(table: tuple[Dataset, Path], tmp_path: Path) -> None:
    described = json.loads((table[1] / weights.DESCRIPTION).read_text())
    (tmp_path / "kept").mkdir()
    for dataset in (
        {"_target_": "shutil.rmtree", "path": str(tmp_path / "kept")},
        {"_target_": "evalbench.workloads.array_files.shutil.rmtree", "path": str(tmp_path / "kept")},
        {
            "_target_": "evalbench.workloads.python.load",
            "source": "shutil.rmtree",
            "arguments": {"path": str(tmp_path)},
        },
    ):
        described["config"]["dataset"] = dataset
        assert Trained(weights.load(table[1]), described).rows[1].startswith("made-up rows")
        assert (tmp_path / "kept").is_dir()


def test_every_format_has_a_writer() -> None:
    assert tuple(conversion.WRITERS) == FORMATS


def test_what_predicts_otherwise_is_refused_and_leaves_nothing(
    table: tuple[Dataset, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(trained: object, folder: Path) -> Written:
        (folder / "model.bin").write_bytes(b"x")
        return Written(lambda rows: weights.load(table[1])(rows.nan_to_num(9.0)), str)

    monkeypatch.setitem(conversion.WRITERS, "onnx", write)
    assert main([str(table[1]), "--to", "onnx", "--output", str(tmp_path / "out")]) == 2
    assert "the predictions of the converted model differ by" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
