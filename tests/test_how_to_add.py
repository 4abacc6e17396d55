"""The examples of `docs/how-to-add.md` work."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hydra.plugins.launcher import Launcher
from scipy.io import savemat
from sklearn import metrics as sk
from torch import nn

from contracts.tracker import RUN
from evalbench.draws import step_keys
from evalbench.tasks import metric

PAGE = (Path(__file__).parents[1] / "docs" / "how-to-add.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"```python\n# src/(\S+)\.py\n(.*?)```", PAGE, re.DOTALL))
OPTIONS: list[tuple[str, str]] = re.findall(r"```yaml\n# (conf/\S+\.yaml).*?\n(.*?)```", PAGE, re.DOTALL)


def run(name: str, folder: Path, known: dict[str, Any] | None = None) -> SimpleNamespace:
    """Run the example of a file and return the names that it defines."""
    path = folder / "example.py"
    path.write_text(EXAMPLES[name], encoding="utf-8")
    return SimpleNamespace(**runpy.run_path(str(path), known))


@pytest.mark.parametrize(("path", "text"), OPTIONS, ids=[path for path, _ in OPTIONS])
def test_an_option_names_its_example(path: str, text: str, tmp_path: Path) -> None:
    module, _, name = yaml.safe_load(text)["_target_"].rpartition(".")
    assert hasattr(run(module.replace(".", "/"), tmp_path), name)
    assert f"`{path}`" in PAGE or f"{Path(path).parent}/*.yaml" in PAGE


def test_the_data_source(tmp_path: Path) -> None:
    savemat(tmp_path / "mine.mat", {"inputs": np.zeros((15, 2)), "targets": np.arange(15) % 3 + 5})
    dataset = run("evalbench/workloads/matlab", tmp_path).load(str(tmp_path / "mine.mat"))
    assert (dataset.name, dataset.kind.name, dataset.classes) == ("mine", "multiclass", ("5", "6", "7"))


def test_the_metric(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    probabilities, truth = generator.dirichlet(np.ones(3), (2, 40)), generator.integers(0, 3, (2, 40))
    known = {**vars(metric), "Tensor": torch.Tensor}  # there for the type checker only
    mcc = run("evalbench/tasks/metric", tmp_path, known)._mcc
    scores = mcc(torch.as_tensor(probabilities), torch.as_tensor(truth))
    expected = [sk.matthews_corrcoef(truth[member], probabilities[member].argmax(1)) for member in range(2)]
    assert scores.tolist() == pytest.approx(expected)


def test_the_loss(tmp_path: Path) -> None:
    hinge = run("evalbench/parts/hinge", tmp_path).Hinge()
    assert hinge(torch.tensor([2.0, 0.5, 0.5]), torch.tensor([1.0, 1.0, 0.0])).tolist() == [0.0, 0.25, 2.25]


def test_the_model(tmp_path: Path) -> None:
    network = run("evalbench/models/residual", tmp_path).ResidualMLP(4, 3, nn.Tanh, gain=1.0)
    assert network(torch.zeros(5, 4)).shape == (5, 3)


def test_the_technique_part(tmp_path: Path) -> None:
    example = run("evalbench/parts/corruption", tmp_path)
    keys, inputs, targets = step_keys(torch.tensor([3, 4]), 0, 2), torch.ones(2, 2, 900, 4), torch.zeros(2, 2, 900)
    same, wrong = example.LabelNoise(num_classes=4, share=0.4)(inputs, targets, keys, range(2))
    assert same is inputs
    assert (wrong != targets).float().mean() == pytest.approx(0.3, abs=0.02)  # a fourth of the draws are right
    assert example.corrupt(None, None, [], torch.float32) is None


def test_the_augmentation(tmp_path: Path) -> None:
    keys, inputs = step_keys(torch.tensor([3, 4]), 0, 2), torch.ones(2, 2, 90, 40)
    changed, _ = run("evalbench/parts/cutout", tmp_path).Cutout(0.3)(inputs, inputs[..., 0], keys, range(2))
    assert changed.mean() == pytest.approx(0.7, abs=0.02)


def test_the_report_section(tmp_path: Path) -> None:
    section = run("evalbench/report/sections/seconds", tmp_path).SECONDS
    rounds = {"workload": "iris", "technique": ["sgd", "adam"], "steps": 10, "step_seconds": [0.5, 0.25]}
    measured, not_measured = (
        SimpleNamespace(folder=SimpleNamespace(costs=table))
        for table in (pd.DataFrame(rounds), pd.DataFrame(rounds).iloc[:0])
    )
    assert section.frames(measured)["seconds"]["seconds"].tolist() == [2.5, 5.0]
    assert "| iris | sgd | 5.0 |" in "".join(section.markdown(measured))
    assert list(section.markdown(not_measured)) == []


def test_the_tracker(tmp_path: Path) -> None:
    tracker = run("evalbench/tracking/jsonl", tmp_path).JsonLinesTracker(str(tmp_path / "runs"))
    for _ in range(2):
        tracker.record(RUN)
    assert (tmp_path / "runs" / "runs.jsonl").read_text().count(RUN.id) == 2


def test_the_launcher(tmp_path: Path) -> None:
    example = run("hydra_plugins/evalbench/joblib_launcher", tmp_path)
    assert issubclass(example.JoblibLauncher, Launcher)
    assert example.NODE["_target_"].endswith(".JoblibLauncher")
