"""Tests that every task must pass; a subclass names the task, and a small table of it with something to learn."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from evalbench.engine.data import Data
from evalbench.errors import DataError
from evalbench.parts.loss import TAKE
from evalbench.workloads import Dataset, Split, draw_split, fit_scaling, references
from target_tables import table

C, B = 3, 12


class TaskContract:
    """What engines, metrics and references may rely on."""

    dataset: ClassVar[Dataset]
    loss: ClassVar[nn.Module]
    """The loss of PyTorch whose gradient is that of the task."""
    perfect: ClassVar[Any]
    """Predictions of the targets of all rows in the target's own unit, as nothing better could be."""
    refused: ClassVar[dict[str, Any]]
    """Targets of which no split could be used, by the rule that is said."""

    def outputs(self, members: int = C, rows: int = B) -> Tensor:
        """Return drawn outputs of C members, `(C, B, ...)`."""
        examples = torch.as_tensor(self.dataset.inputs[:rows])
        shape = self.dataset.kind.output_shape(examples, self.dataset.num_outputs)
        return torch.randn(members, *shape, generator=torch.Generator().manual_seed(0))

    def data(self) -> tuple[Data, list[Split]]:
        splits = [draw_split(self.dataset, 0.2, 0.3, seed) for seed in range(C)]
        return Data(self.dataset, splits, torch.float32), splits

    def test_it_is_registered_and_has_metrics_with_a_best_score_on_its_curve(self) -> None:
        assert self.dataset.kind.metric.on_curve
        assert all(metric.best is not None for metric in self.dataset.kind.measured)
        assert isinstance(self.loss, TAKE[self.dataset.kind.outputs])

    def test_examples_have_the_shapes_of_data(self) -> None:
        task, inputs = self.dataset.kind, torch.as_tensor(self.dataset.inputs[:B])
        targets = task.example_targets(inputs, self.dataset.num_outputs)
        assert targets.shape == self.dataset.targets[:B].shape
        data, splits = self.data()
        gathered = data.targets_of(torch.as_tensor(splits[0].train[:B]).expand(C, B), range(C))
        assert gathered.shape == (C, *targets.shape)
        assert gathered.dtype.is_floating_point == targets.dtype.is_floating_point or not task.scales_targets

    def test_members_are_computed_as_each_alone(self) -> None:
        task, outputs, data = self.dataset.kind, self.outputs(), self.data()[0]
        targets = data.targets_of(data.test_rows[:, :B], range(C))
        scored = [(task.score, task.score)] if task.scores_outputs else []
        for together, alone in ((vmap(task.loss), task.loss), *scored):
            expected = torch.stack([alone(*member) for member in zip(outputs, targets, strict=True)])
            torch.testing.assert_close(together(outputs, targets), expected)
        predictions = task.predict(outputs)
        assert predictions.dtype == torch.float64
        torch.testing.assert_close(predictions[1], task.predict(outputs[1]))

    def test_score_and_loss_are_those_of_the_predictions(self) -> None:
        """So curves of networks and estimators mean the same."""
        task, outputs, (data, splits) = self.dataset.kind, self.outputs(), self.data()
        rows = data.test_rows[:, :B]
        targets, members = data.targets_of(rows, range(C)), list(range(C))
        predictions = data.unscaled(task.predict(outputs), members)
        measured = task.measure(task.metric, predictions, data.targets[rows])
        if task.scores_outputs:
            assert task.score(outputs, targets).double() == pytest.approx(measured, abs=1e-4)
        scales = [fit_scaling(self.dataset, split.train).target_std for split in splits]
        given = zip(predictions.numpy(), self.dataset.targets[rows], scales, strict=True)
        losses = [task.loss_of(*member) for member in given]
        assert vmap(task.loss)(outputs, targets) == pytest.approx(np.array(losses), rel=1e-4)

    def test_a_loss_of_pytorch_has_the_same_gradient(self) -> None:
        task, outputs, data = self.dataset.kind, self.outputs()[0], self.data()[0]
        targets = data.targets_of(data.test_rows[:, :B], range(C))[0]
        expected = grad(lambda outputs: self.loss(*task.natural(outputs, targets)))(outputs)
        torch.testing.assert_close(grad(task.loss)(outputs, targets), expected)

    def test_the_trivial_predictor_has_every_metric_and_nothing_beats_the_best(self) -> None:
        split = self.data()[1][0]
        trivial = references.trivial(self.dataset, {0: split})[0]
        assert set(trivial) == {metric.on("test") for metric in self.dataset.kind.measured}
        best = self.dataset.evaluate(self.perfect[split.test], self.dataset.targets[split.test])
        for metric in self.dataset.kind.measured:
            name = metric.on("test")
            assert best[name] == pytest.approx(metric.best, abs=1e-6)
            assert metric.best is not None
            assert metric.sign * trivial[name] < metric.sign * metric.best

    def test_the_linear_model_is_better_and_a_seed_has_its_bits_alone(self) -> None:
        splits = dict(enumerate(self.data()[1]))
        together, trivial = references.linear(self.dataset, splits), references.trivial(self.dataset, splits)
        assert references.linear(self.dataset, {1: splits[1]})[1] == together[1]
        metric = self.dataset.kind.metric
        better = [
            metric.sign * (together[seed][metric.on("test")] - trivial[seed][metric.on("test")]) for seed in splits
        ]
        assert np.mean(better) > 0.1

    def test_bad_targets_are_refused_in_one_line(self) -> None:
        for rule, targets in self.refused.items():
            with pytest.raises(DataError) as error:
                table(self.dataset.kind, targets, self.dataset.classes)
            assert rule in str(error.value)
            assert "\n" not in str(error.value)
