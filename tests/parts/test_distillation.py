"""Distillation: what a teacher says of training rows, and teachers that are refused."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import plain
from conftest import make_cell
from evalbench import cell as cells
from evalbench import engines, weights
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.engines import Outlets
from evalbench.errors import ConfigError
from evalbench.parts.distillation import DistillationLoss, TaughtRows
from evalbench.seeds import Phase
from evalbench.workloads import fit_scaling
from target_tables import TABLES

SMALL = ("model.width=4", "model.depth=1", "budget.epochs=2", "optimizer.batch_size=32", "num_seeds=2")
TEACHER = ("model.width=6", "model.depth=1", "budget.epochs=1", "save=all", "num_seeds=2")


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Train two seeds of a teacher on each of some data sets."""
    folders = {}
    for name in ("wine", "breast_cancer", "diabetes"):
        folders[name] = tmp_path_factory.mktemp(name) / "cell"
        cell = make_cell(f"dataset={name}", *TEACHER)
        training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=folders[name])
    return folders


def student(name: str, folder: Path, *more: str) -> Cell:
    chosen = ("compression=distillation", f"compression.teacher={folder}")
    return make_cell(f"dataset={name}", *chosen, *SMALL, *more)


def distance(name: str, outputs: Tensor, said: Tensor, temperature: float) -> Tensor:
    """Return what Hinton et al. (2015) write down, by PyTorch's own functions."""
    if name == "diabetes":
        return F.mse_loss(outputs[:, 0], said)
    logits = outputs if outputs.shape[1] > 1 else torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    softened = (said.log() / temperature).softmax(1).to(outputs.dtype)
    return temperature**2 * F.kl_div((logits / temperature).log_softmax(1), softened, reduction="batchmean")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wine", "breast_cancer", "diabetes"])
def test_a_cohort_is_taught_as_lone_trials_and_a_plain_loop(name: str, teachers: Mapping[str, Path]) -> None:
    settings = ("compression.temperature=3", "compression.weight=0.7")
    cell = student(name, teachers[name], *settings)
    cells.check(cell)
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1))[1]
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    parts = replace(cell.config, microbatch_size=10)
    (in_parts,) = training.train(parts, cell.dataset, cell.entrants(1))
    teacher = weights.load(teachers[name] / "s1")
    scaling = fit_scaling(cell.dataset, cell.split(1).train)

    def taught(loss: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
        said = teacher(torch.as_tensor(cell.dataset.inputs[rows], dtype=torch.float32)).detach()
        if name == "diabetes":
            said = ((said - scaling.target_mean) / scaling.target_std).to(outputs.dtype)
        return 0.3 * loss + 0.7 * distance(name, outputs, said, 3)

    expected = plain.train(cell, 1, taught=taught)
    for result in (together, alone, in_parts):
        assert [point.val_loss for point in result.curve] == pytest.approx(expected.val_losses, rel=2e-4)
    assert expected.val_losses != pytest.approx(plain.train(cell, 1).val_losses, rel=1e-3)


@pytest.mark.parametrize("name", ["multilabel", "multi_output"])
def test_the_loss_of_a_student_that_says_what_its_teacher_says_is_its_own_share(
    name: str, teachers: Mapping[str, Path]
) -> None:
    table = TABLES[name]
    cell = replace(student("wine", teachers["wine"]), dataset=table)
    cohort, (split,) = training.make_cohort(make_cell("dataset=wine", *SMALL).config, table, cell.entrants(0))
    outputs = torch.randn(5, table.num_outputs)
    said = outputs.sigmoid() if table.kind.is_classification else outputs
    settings = cell.config.compression
    assert settings is not None
    own = cohort._loss
    loss = DistillationLoss(own, table, settings.component.build(temperature=1.0), False)  # type: ignore[union-attr, arg-type]
    rows = torch.as_tensor(split.train[:5])
    targets = cohort.data.targets_of(rows[None], [0])[0]
    joined = torch.cat([targets.flatten(1).float(), said], dim=1)
    assert loss(outputs, joined).item() == pytest.approx(0.5 * table.kind.loss(outputs, targets).item(), rel=1e-5)
    assert loss(outputs + 1, joined) > 0.5 * table.kind.loss(outputs + 1, targets)


def test_weights_of_rows_count_for_both_sides(teachers: Mapping[str, Path]) -> None:
    cell = student("wine", teachers["wine"], "compression.no_test_rows=true")  # weights make other data
    kept = np.arange(len(cell.dataset.targets)) % 2 == 0
    (split,) = training.make_cohort(cell.config, cell.dataset, cell.entrants(0))[1]
    rows = torch.as_tensor(split.train[kept[split.train]][:20])[None]
    losses = []
    for given in (None, kept.astype(np.float32)):
        cohort, _ = training.make_cohort(cell.config, replace(cell.dataset, weights=given), cell.entrants(0))
        losses.append(float(cohort._compute(rows, cohort._keys(0, 1)[0])[1]))
    assert losses[1] * kept[split.train].mean() == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.slow
def test_an_estimator_may_teach_and_says_the_same_of_a_row_in_every_cohort(tmp_path: Path) -> None:
    teacher = make_cell("dataset=wine", "model=random_forest", "model.n_estimators=5", "save=all", "num_seeds=2")
    outlets = Outlets(tmp_path / "cell")
    list(engines.of(teacher.config).train_all(teacher.config, teacher.dataset, teacher.entrants(0, 1), "x", outlets))
    cell = student("wine", tmp_path / "cell", "compression.temperature=1")
    with pytest.raises(ConfigError, match=r"say 'compression.trust=\[sklearn\]'"):
        cells.check(cell)
    cell = student("wine", tmp_path / "cell", "compression.temperature=1", "compression.trust=[sklearn]")
    cells.check(cell)
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(1))
    taught = cohort._row_weights
    assert isinstance(taught, TaughtRows)
    rows = torch.arange(6)[None, None]
    attached = taught(cohort.data.targets_of(rows, [0]), rows, torch.tensor([0]))
    expected = weights.load(tmp_path / "cell/s1", ["sklearn"])(
        torch.as_tensor(cell.dataset.inputs[:6], dtype=torch.float64)
    )
    assert attached[0, 0, :, 0].tolist() == cell.dataset.targets[:6].tolist()
    torch.testing.assert_close(attached[0, 0, :, 1:], expected.float())


def test_the_files_of_the_teachers_are_part_of_a_trial_and_their_path_is_not(
    teachers: Mapping[str, Path], tmp_path: Path
) -> None:
    cell = student("wine", teachers["wine"])
    assert cell.id != make_cell("dataset=wine", *SMALL).id
    moved = tmp_path / "moved"
    _copy(teachers["wine"], moved)
    assert student("wine", moved).id == student("wine", tmp_path).id == cell.id  # it holds no other cell
    (moved / "s1" / weights.WEIGHTS).write_bytes((moved / "s0" / weights.WEIGHTS).read_bytes())
    assert student("wine", moved).id != cell.id
    assert student("wine", teachers["wine"], "compression.weight=0.4").id != cell.id
    assert make_cell("dataset=wine", *SMALL, "compression=none").id == make_cell("dataset=wine", *SMALL).id


def _copy(source: Path, target: Path) -> None:
    for file in source.rglob("*.*"):
        path = target / file.relative_to(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.read_bytes())


@pytest.mark.slow
def test_a_teacher_that_has_learned_from_a_test_row_is_refused(teachers: Mapping[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must have learned from no test row, and has from"):
        cells.check(student("wine", teachers["wine"] / "s0"))
    with pytest.raises(ConfigError, match="must have learned from no test row, and has from"):
        cells.check(student("wine", teachers["wine"], "seed=1"))  # other splits
    own = student("wine", teachers["wine"] / "s0", "num_seeds=1")
    cells.check(own)
    _copy(teachers["wine"] / "s0", tmp_path / "other")
    description = json.loads((tmp_path / "other" / weights.DESCRIPTION).read_text())
    description["fingerprint"] = "of other rows"
    (tmp_path / "other" / weights.DESCRIPTION).write_text(json.dumps(description))
    with pytest.raises(ConfigError, match="it is not known whether it has seen the test rows"):
        cells.check(student("wine", tmp_path / "other"))
    cells.check(student("wine", tmp_path / "other", "compression.no_test_rows=true"))
    (tmp_path / "other" / weights.DESCRIPTION).write_bytes((teachers["wine"] / "s0" / weights.DESCRIPTION).read_bytes())
    (tmp_path / "other" / weights.LEARNED).unlink()  # of an earlier version
    with pytest.raises(ConfigError, match="it is not known whether it has seen the test rows"):
        cells.check(student("wine", tmp_path / "other"))


@pytest.mark.slow
def test_candidates_that_are_tuned_see_no_test_row_and_take_the_teachers_in_turn(
    teachers: Mapping[str, Path],
) -> None:
    cell = student("wine", teachers["wine"], "+search=random").at({}, Phase.TUNE)
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    taught = cohort._row_weights
    assert isinstance(taught, TaughtRows)
    assert taught.teacher.tolist() == [0, 1, 0]
    assert taught.said.shape[:2] == (2, len(cell.development.targets))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("num_seeds=3",), "must hold a teacher for seed 2, and has those of s0, s1"),
        (("dataset=iris",), "must be trained on data like iris, whose features are not those of its data"),
        (("compression.teacher=nowhere",), "must be the folder of a saved model"),
        (("compression.weight=2",), r"compression.weight must be a number from 0 to 1, not 2"),
        (("compression.temperature=0",), "compression.temperature must be a number above 0, not 0"),
        (("augmentation=mixup",), "the teacher knows no mixed rows"),
        (("loss=class_weighted",), "loss.class_weights must be left out with compression=distillation"),
        (("compression._target_=mine.Own",), "compression._target_ must be one of evalbench's own"),
    ],
)
@pytest.mark.slow
def test_wrong_settings_are_refused_in_one_line(
    overrides: tuple[str, ...], words: str, teachers: Mapping[str, Path]
) -> None:
    with pytest.raises(ConfigError, match=words):
        cells.check(student("wine", teachers["wine"], *overrides))


def test_code_of_a_teacher_must_be_trusted(teachers: Mapping[str, Path], tmp_path: Path) -> None:
    _copy(teachers["wine"], tmp_path)
    for file in tmp_path.glob(f"s*/{weights.DESCRIPTION}"):
        file.write_text(file.read_text().replace("evalbench.models.mlp.MLP", "networks.Probe"))
    with pytest.raises(ConfigError, match="must be a model that can be loaded"):
        cells.check(student("wine", tmp_path))


def test_a_task_without_a_known_distance_is_refused(teachers: Mapping[str, Path]) -> None:
    cell = replace(student("wine", teachers["wine"]), dataset=TABLES["count"])
    with pytest.raises(ConfigError, match="compression must be none for the task count"):
        engines.of(cell.config).check(cell.config, cell.dataset)
