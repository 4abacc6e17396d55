"""Saved weights come back as the plain single model, which predicts what was tested."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import make_cell
from evalbench import cell as cells
from evalbench import weights
from evalbench.engine import training
from evalbench.errors import DataError
from evalbench.seeds import Role, derive
from evalbench.store import Store
from evalbench.workloads import draw_split

SMALL = ("budget=steps", "budget.steps=6", "budget.validations=2")
CHOICES = {
    "classes": ("dataset=digits", "model.width=16"),
    "two classes, missing values": ("dataset=breast_cancer", "model.width=16"),
    "numbers": ("dataset=diabetes", "model.width=16"),
    "batch norm": ("dataset=digits", "model=cnn", "model.norm=batch"),
    "tokens": ("dataset=python_source", "model=transformer", "dataset.num_rows=60", "dataset.length=8"),
    "float64": ("dataset=wine", "trainer.precision=64-true"),
}


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
def test_a_loaded_model_predicts_as_tested_and_can_be_exported(tmp_path: Path, choice: tuple[str, ...]) -> None:
    cell = make_cell(*choice, *SMALL, "save=all")
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 3), keep_in=tmp_path)
    model = weights.load(weights.folder(tmp_path, 3))
    dataset = cell.dataset
    test = draw_split(dataset, 0.2, 0.2, derive(0, dataset.name, Role.SPLIT, 3)).test
    rows = torch.as_tensor(dataset.inputs[test])
    rows = rows.double() if cell.config.precision == "64-true" else rows
    exported = torch.export.export(model, (rows,)).module()
    for predict in (model, exported):
        predictions = predict(rows).detach().numpy()
        assert dataset.kind.evaluate(predictions, dataset.targets[test]) == pytest.approx(results[1].metrics, rel=1e-4)


def test_a_description_is_saved_beside_the_weights(tmp_path: Path) -> None:
    cell = make_cell("dataset=iris", *SMALL, "save=all")
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0), keep_in=tmp_path)
    described = json.loads((tmp_path / "s0" / weights.DESCRIPTION).read_text())
    assert described["workload"] == "iris"
    assert described["classes"] == ["setosa", "versicolor", "virginica"]
    assert described["metrics"] == result.metrics
    assert described["config"]["optimizer"]["lr"] == 0.001


@pytest.mark.slow
def test_the_best_of_each_cell_is_kept_also_with_small_cohorts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_max_members", lambda *_: 2)
    cell = make_cell("dataset=wine", *SMALL, "save=best", "num_seeds=5", f"weights={tmp_path}")
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    cells.run(cell.with_seeds(3), store)  # an earlier look
    cells.run(cell, store)
    losses = [min(point.val_loss for point in trial.result.curve) for trial in store.trials(list(cell.specs)).values()]
    assert [path.name for path in cells.weights_folder(cell).iterdir()] == [f"s{np.argmin(losses)}"]


def test_a_model_whose_code_has_changed_is_loaded_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "changing.py"
    own.write_text("from evalbench.models.mlp import MLP\nclass Net(MLP): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    cell = make_cell("dataset=iris", *SMALL, "save=all", "model._target_=changing.Net")
    training.train(cell.config, cell.dataset, cell.entrants(0), keep_in=tmp_path)
    weights.load(tmp_path / "s0", packages=["changing"])
    own.write_text(own.read_text() + "scale = 2\n")
    monkeypatch.delitem(sys.modules, "changing")  # as in another process
    with pytest.warns(
        UserWarning, match="code of changing.Net changed: its predictions may differ from the tested ones"
    ):
        weights.load(tmp_path / "s0", packages=["changing"])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that was saved once."""
    folder, cell = tmp_path_factory.mktemp("saved"), make_cell("dataset=iris", *SMALL, "save=all")
    training.train(cell.config, cell.dataset, cell.entrants(0), keep_in=folder)
    return folder / "s0"


def test_a_folder_that_holds_no_model_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give a folder written by save=best or save=all"):
        weights.load(tmp_path)
    shutil.copytree(saved, tmp_path / "s0")
    description = tmp_path / "s0" / weights.DESCRIPTION
    description.write_text(description.read_text().replace('"depth": 2', '"depth": 3'))
    with pytest.raises(DataError, match="must hold the weights of the model"):
        weights.load(tmp_path / "s0")


HOSTILE: dict[str, dict[str, object]] = {
    "a function": {"_target_": "os.system", "command": "touch ran"},
    "a module that is imported": {"_target_": "planted.Net"},
    "code of torch that is no network": {"_target_": "torch.hub.load", "repo_or_dir": "planted"},
    "an import of a module of networks": {"_target_": "torch.nn.modules.module.weakref.WeakSet"},
    "nested": {"_target_": "evalbench.models.mlp.MLP", "width": [{"_target_": "os.system", "command": "touch ran"}]},
    "made by an interpolation": {"_target_": "evalbench.models.mlp.MLP", "width": "${oc.create:{_target_: os.system}}"},
    "a name with a similar start": {"_target_": "torch.nnx.Net"},
}


@pytest.mark.parametrize("group", ["model", "activation"])
@pytest.mark.parametrize("spec", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_description_of_another_user_runs_no_code(
    saved: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, group: str, spec: dict[str, object]
) -> None:
    (workspace / "planted.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.syspath_prepend(workspace)
    shutil.copytree(saved, workspace / "s0")
    description = workspace / "s0" / weights.DESCRIPTION
    described = json.loads(description.read_text())
    description.write_text(json.dumps({**described, group: {"gain": 1.0, **spec}}))
    with pytest.raises(DataError, match=r"must be made of networks of evalbench\.models and torch\.nn, not"):
        weights.load(workspace / "s0")
    assert not Path("ran").exists()
    with pytest.raises(DataError, match=r"must be made of networks of evalbench\.models and torch\.nn and mine, not"):
        weights.load(workspace / "s0", packages=["mine"])
