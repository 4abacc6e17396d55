"""C trials trained as one batched model in one Lightning fit.

The step of one trial is a pure function; `vmap` adds the member axis, and the result is traced once per batch shape
into a graph of plain tensor operations, which is replayed: neither autograd nor vmap is paid for in each step.

Shapes: `C` members, `S` steps in a block, `B` rows in a batch, `D` features, `K` outputs, `N` rows of the data set.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn, optim

from evalbench.engine import gradients, guard, instances, noise, optimizers, python_state, state
from evalbench.engine.batches import Batches
from evalbench.engine.data import Data, pick
from evalbench.engine.members import Member, Recipe
from evalbench.engine.networks import build_all
from evalbench.engine.state import Held, HeldStack, Stack, num_bytes
from evalbench.engine.validation import Validation
from evalbench.workloads import Dataset, Split

log = logging.getLogger(__name__)

BLOCK_NUMBERS = 2**20
"""Numbers gathered for one block of steps: small enough to stay near the processor."""
EVALUATION_EXAMPLES = 4096
"""Rows of one member, or tokens of language, that one forward pass takes when nothing is learned."""
EVALUATION_STEP = -1
"""The step that stands for all evaluations where noise is drawn, so that all of a trial draw the same."""
COMPACT_BELOW = 0.8
"""Members that have ended are dropped once the others are fewer than this share: each drop costs a new trace."""


class UnfitSnapshotError(Exception):
    """A snapshot is of another cohort than the one that was to go on from it."""


class Cohort(pl.LightningModule):
    """The members' networks, stacked; a Lightning batch is a block of steps, a Lightning epoch ends in a validation.

    Members are told apart by their place at the start. One that has diverged or run out of patience has *ended*: it is
    dropped from the stack when enough others have, and its place in `members` keeps its record.
    """

    noise_seeds: Tensor  # (C,)
    _loss_sums: Tensor  # (places,), float64

    def __init__(
        self,
        build: Callable[[int], nn.Module],
        dataset: Dataset,
        splits: Sequence[Split],
        batches: Batches,
        recipe: Recipe,
        noise_seeds: Sequence[int],
        settings: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Take what builds a member's network, a split and a noise seed per member.

        `settings` are the hyperparameters in which members differ. Raises `ConfigError` for a network that cannot be
        trained rightly, if `recipe.verify` asks for the check.
        """
        super().__init__()
        self.automatic_optimization = False
        self.task = dataset.kind
        self.batches = batches
        self.recipe = recipe
        self.members = [Member() for _ in splits]
        self.places = list(range(len(splits)))
        """Which member each place of the stack holds."""
        self.first_round = 0
        """The round that the first Lightning epoch is: above 0 when training was resumed."""
        self.on_round_end: Callable[[Cohort, int], None] | None = None
        """Called after each round but the last with the number of the next, to save a snapshot perhaps."""
        self.on_validated: Callable[[Cohort], None] | None = None
        """Called after each validation, to show how far the members are."""
        self._settings = settings
        self.data = Data(dataset, splits, recipe.dtype)
        self._on_batch = nn.ModuleList(recipe.on_batch)
        self._loss = recipe.loss if isinstance(recipe.loss, nn.Module) else None  # so that its tensors move along
        self._validation = Validation(dataset, self.data)
        self.register_buffer("noise_seeds", torch.tensor(list(noise_seeds)), persistent=False)
        self.register_buffer("_loss_sums", torch.zeros(len(splits), dtype=torch.float64), persistent=False)
        self._best = Held()
        self._best_python: dict[int, python_state.Values] = {}
        self._optimizer: optimizers.CohortOptimizer | optimizers.SplitOptimizer | None = None
        self._snapshot: Mapping[str, Any] | None = None
        self._rank, self._ranks = 0, 1
        networks = build_all(build, len(splits), recipe, self._example)
        self._steps, self._verdict, self._checksums = networks.steps, networks.verdict, networks.checksums
        self._held = HeldStack(networks.stack)
        self._all_own = Held(networks.stack.own.values())
        """The constants that differ between members, of all members, ended ones too."""

    def _example(self, step: int) -> guard.Example:
        """Return a batch of one of the first steps, or the part of it that one pass takes."""
        rows = next(self.batches.blocks(step, step + 1, 1))[..., : self.recipe.microbatch_size]
        return guard.Example(*(values[0] for values in self._batch(rows, step)))

    def _batch(self, rows: Tensor, first_step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return inputs `(S, C, B, D)` and targets to train on, and noise keys `(S, C)`, for rows `(S, C, B)`."""
        inputs, targets = self.data.gather(rows, self.places)
        keys = noise.step_keys(pick(self.noise_seeds, self.places), first_step, len(rows))
        for hook in self._on_batch:
            inputs, targets = hook(inputs, targets, keys, self.places)
        return inputs, targets, keys

    @property
    def why_one_by_one(self) -> str | None:
        """Why the members are not trained as one batched model, if they are not."""
        return self._steps.why_one_by_one

    @property
    def keeps_python_state(self) -> bool:
        """Whether the members' networks change what they keep in Python, which their weights would lack."""
        return self._verdict.python_state

    @property
    def can_be_saved(self) -> bool:
        """Whether a snapshot holds all that training needs to go on."""
        return self.optimizer.can_be_saved and self._verdict.can_be_saved

    def why_not_in_parts(self) -> str | None:
        """Return why a batch must not be cut into parts, if it must not; nothing is learned."""
        with self.recipe.numbers():
            return guard.why_not_in_parts(self._steps.one_by_one, self._held.stack, self._example(0))

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "Cohort":
        """Move everything to another device or type, also what torch does not see as a part of the module."""
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self._steps.move(function)
        if self._optimizer is not None:
            self._optimizer.move(function, self._held.trained)
        return self

    # ── training ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def train_dataloader(self) -> "_Rounds":
        """Return an iterable over the blocks up to the next validation."""
        return _Rounds(self)

    def configure_optimizers(self) -> list[optim.Optimizer]:
        """Build the optimizer when the parameters are on their device."""
        return self.optimizer.optimizers

    @property
    def optimizer(self) -> optimizers.CohortOptimizer | optimizers.SplitOptimizer:
        """The optimizer of all members, made when it is first asked for."""
        if self._optimizer is None:
            alone = self.why_one_by_one is not None
            config, parameters, settings = self.recipe.optimizer, self._held.trained, self._settings
            own = settings or [{} for _ in self.places]
            steps = self.recipe.validation_steps[-1]
            tables = instances.scheduled(self.recipe.schedule, config.component, parameters, own, steps)
            self._optimizer = optimizers.build(config, parameters, settings, alone, tables)
            if not len(self._best):
                self._best.hold(value.clone() for value in self._held.stack.state)
        return self._optimizer

    @property
    def round(self) -> int:
        """The number of the current round."""
        return self.first_round + self.current_epoch

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process is the one that writes."""
        return self._rank == 0

    def round_steps(self, number: int) -> tuple[int, int]:
        """Return the first step of a round and the one behind its last; a round ends with a validation."""
        steps = self.recipe.validation_steps
        return (steps[number - 1] if number else 0), steps[number]

    @torch.no_grad()
    def training_step(self, rows: Tensor, batch_idx: int) -> None:
        """Take S optimizer steps for every member; `rows` is `(S, C, B)`."""
        if batch_idx == 0:
            self._step = self.round_steps(self.round)[0]
            self._loss_sums = torch.zeros(len(self.places), device=self.device, dtype=torch.float64)
        step_losses = self.train_block(rows, self._step)
        self._note_divergence(step_losses)
        self._step += len(step_losses)
        self._loss_sums += step_losses.sum(0) * rows.shape[2]

    def train_block(self, rows: Tensor, first_step: int) -> Tensor:
        """Take S optimizer steps for every member on rows `(S, C, B)`; return the losses `(S, C)` in float64."""
        with self.recipe.numbers():
            return self._train_block(rows, first_step)

    def _train_block(self, rows: Tensor, first_step: int) -> Tensor:
        optimizer, stack = self.optimizer, self._held.stack
        optimizer.switch(training=True)
        block = []
        batch = (values.unbind() for values in self._batch(rows, first_step))
        for step, (step_inputs, step_targets, key) in enumerate(zip(*batch, strict=True)):
            optimizer.schedule(first_step + step)
            if optimizer.calls.closure:
                loss = self._step_with_closures(stack, step_inputs, step_targets, key)
            else:
                named, loss, without = self._gradients(stack, step_inputs, step_targets, key)
                optimizer.step(named, without, key)
            block.append(loss)
        return torch.stack(block).double()

    def _step_with_closures(self, stack: Stack, inputs: Tensor, targets: Tensor, key: Tensor) -> Tensor:
        """Let each member's optimizer ask for gradients itself, of the same batch with the same noise each time."""

        def compute(place: int) -> optimizers.Computed:
            mine = (value[place : place + 1] for value in (inputs, targets, key))
            return self._gradients(stack.only(place), *mine)

        loss, asked = self.optimizer.step_with_closures(compute, key)
        for index, times in zip(self.places, asked, strict=True):
            self.members[index].extra_examples += (times - 1) * inputs.shape[1]
        return loss

    def _gradients(self, stack: Stack, inputs: Tensor, targets: Tensor, key: Tensor) -> optimizers.Computed:
        """Return what `gradients.of_batch` does for the global batch, and hooks make of its gradients."""
        batch, most = (inputs, targets, key), self.recipe.microbatch_size
        named, loss, without = gradients.of_batch(self._steps, stack, batch, most, self._rank, self._ranks)
        for hook in self.recipe.on_gradients:
            named = hook(named)
        return named, loss, without

    def _note_divergence(self, step_losses: Tensor) -> None:
        """A member whose loss is not finite has diverged; its neighbours go on. `step_losses` is `(S, C)`."""
        bad = ~torch.isfinite(step_losses)
        if not bad.any():
            return
        first = bad.int().argmax(0)
        for place in bad.any(0).nonzero().flatten().tolist():
            member = self.members[self.places[place]]
            if not member.ended:
                member.diverged_step = self._step + int(first[place]) + 1
                member.ended = True

    # ── validation, test ──────────────────────────────────────────────────────────────────────────────────────────────

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        """Validate every member; remember its state if the validation is its best so far."""
        start, stop = self.round_steps(self.round)
        seen = self.batches.examples(stop) - self.batches.examples(start)
        self.optimizer.switch(training=False)
        with self.trainer.precision_plugin.val_step_context():
            rows = pick(self.data.validation_rows, self.places)
            outputs = self._evaluate(self._held.stack, rows)  # (C, rows, K)
        validated = self._validation(outputs, rows, self.places)
        train_losses = (self._loss_sums / seen).tolist()
        improved = []
        for place, index in enumerate(self.places):
            member = self.members[index]
            if not member.ended and member.note_validation(
                train_losses[place], validated[place], stop, self.recipe.patience
            ):
                improved.append(place)
        if self.on_validated is not None:
            self.on_validated(self)
        for best, now in zip(self._best, self._held.stack.state, strict=True):
            best[[self.places[place] for place in improved]] = now[improved]
        self._best_python |= self._steps.python_state([self.places[place] for place in improved])
        self._prune()
        going = [place for place, index in enumerate(self.places) if not self.members[index].ended]
        if not going:
            self.trainer.should_stop = True
        elif len(going) < COMPACT_BELOW * len(self.places):
            self._compact(going)
        more = self.round + 1 < len(self.recipe.validation_steps)
        if self.on_round_end is not None and going and more:
            self.on_round_end(self, self.round + 1)

    def _prune(self) -> None:
        """End the members whose candidates are not among the best at this rung."""
        halving = self.recipe.halving
        if halving is None or self.round + 1 == len(self.recipe.validation_steps):
            return
        standing = [member.standing(halving.by_loss, halving.sign) for member in self.members]
        ended = [member.ended for member in self.members]
        for index in halving.losers(standing, ended, self.round + 1):
            self.members[index].pruned = self.members[index].ended = True

    def _compact(self, keep: list[int]) -> None:
        """Go on with the members at some places of the stack; what was measured of the others stays."""
        self._held.hold(self._held.stack.take(keep))
        self.batches = self.batches.keep(keep)
        self.optimizer.keep(keep, self._held.trained)
        self.places = [self.places[place] for place in keep]

    @torch.no_grad()
    def test_predictions(self) -> Iterator[NDArray[np.float64]]:
        """Yield every member's predictions on its test rows, from the state with the lowest validation loss.

        Class probabilities `(rows, classes)`, token probabilities `(rows, D, tokens)`, or numbers `(rows,)` in the
        target's own unit.
        """
        yield from self._predict(self.data.test_rows)

    @torch.no_grad()
    def validation_predictions(self) -> Iterator[NDArray[np.float64]]:
        """Yield every member's predictions on its validation rows, as `test_predictions` does."""
        yield from self._predict(self.data.validation_rows)

    def _predict(self, rows: Tensor) -> Iterator[NDArray[np.float64]]:
        self._check_shared()
        self._steps.set_python_state(self._best_python)
        for member, outputs in enumerate(self._evaluate(self._best_stack(), rows)):
            predictions = self.data.unscaled(self.task.predict(outputs)[None], [member])[0]
            yield predictions.cpu().numpy()

    def best_weights(self, member: int) -> dict[str, Tensor]:
        """Return a member's own tensors at the lowest validation loss, by name."""
        everything = self._best_stack().member(member)
        return {name: value for name, value in everything.items() if name not in self.shared_tensors}

    @property
    def shared_tensors(self) -> dict[str, Tensor]:
        """What all members share, by name: one copy, which nothing changes."""
        return self._held.stack.shared

    def _check_shared(self) -> None:
        """Raise `RuntimeError` where a network that trains alone has written into what all members share."""
        for name, value in self._held.stack.shared.items():
            if self._checksums and state.fingerprint(value) != self._checksums[name]:
                raise RuntimeError(f"the network has changed {name}, which does not train, and only after a while")

    def _evaluate(self, stack: Stack, rows: Tensor) -> Tensor:
        """Return the outputs `(C, rows, K)` of members for rows `(C, rows)`."""
        with self.recipe.numbers():
            return self._outputs(stack, rows).to(self.recipe.dtype)

    def _outputs(self, stack: Stack, rows: Tensor) -> Tensor:
        keys = noise.step_keys(pick(self.noise_seeds, stack.members), EVALUATION_STEP, 1)[0]
        parts, first = [], 0
        for part in torch.split(rows, self._rows_in_pass(), dim=1):
            parts.append(self._steps.forward(stack, self.data.gather(part[None], stack.members)[0][0], keys, first))
            first += part.shape[1]
        return torch.cat(parts, dim=1)

    @property
    def state_bytes(self) -> int:
        """The size of what training changes, of all members."""
        return num_bytes(self._held.stack.state)

    @property
    def constant_bytes(self) -> int:
        """The bytes of the tensors that never change: the shared copy, and each member's own."""
        stack = self._held.stack
        return num_bytes([*stack.own.values(), *stack.shared.values()])

    @torch.no_grad()
    def trace_memory(self) -> tuple[int, int]:
        """Return what a step and a validation pass hold at their worst moment, in bytes; nothing is learned."""
        rows = next(self.batches.blocks(0, 1, 1))
        inputs, targets, _ = (values[0] for values in self._batch(rows, 0))
        most = min(self.recipe.microbatch_size or rows.shape[2], rows.shape[2])
        evaluated = self.data.gather(self.data.validation_rows[None, :, : self._rows_in_pass()], self.places)[0][0]
        with self.recipe.numbers():
            step = self._steps.peak_bytes(self._held.stack, inputs[:, :most], targets[:, :most], self.noise_seeds)
            return step, self._steps.forward_peak_bytes(self._held.stack, evaluated, self.noise_seeds)

    # ── saving and resuming ───────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self, next_round: int) -> dict[str, Any]:
        """Return everything that training needs to go on at a round: tensors and plain values.

        No generator is among it: splits, orders and noise are functions of the seeds. Nor are constants.
        """
        return {
            "round": next_round,
            "places": list(self.places),
            "members": [asdict(member) for member in self.members],
            "state": self._held.stack.state,
            "best": list(self._best),
            "optimizer": self.optimizer.state(),
            "python": python_state.plain_of_all(self._steps.python_state(self.places)),
            "best_python": python_state.plain_of_all(self._best_python),
        }

    def resume(self, snapshot: Mapping[str, Any]) -> None:
        """Begin where the snapshot was taken, once Lightning has put the cohort on its device.

        Raises `ValueError` or `KeyError` for what is no snapshot; whether it fits is known when the fit begins.
        """
        if snapshot["round"] not in range(1, len(self.recipe.validation_steps)):
            raise ValueError(f"it has no round {snapshot['round']}")
        self.first_round = snapshot["round"]
        self._snapshot = snapshot

    @torch.no_grad()
    def on_fit_start(self) -> None:
        """Learn which rank this is; take up the snapshot, if there is one, or raise `UnfitSnapshotError`."""
        self._rank, self._ranks = self.trainer.global_rank, self.trainer.world_size
        if self._snapshot is None:
            return
        snapshot, self._snapshot = self._snapshot, None
        try:
            self._take_up(snapshot)
        except Exception as error:  # it may be of anything
            raise UnfitSnapshotError(f"{type(error).__name__}: {error}") from error

    def _take_up(self, snapshot: Mapping[str, Any]) -> None:
        if len(snapshot["members"]) != len(self.members):
            raise ValueError(f"it is of {len(snapshot['members'])} members, not of {len(self.members)}")
        self.members = [Member(**values) for values in snapshot["members"]]
        if len(snapshot["places"]) < len(self.places):
            self._compact(snapshot["places"])
        now = [*self._held.stack.state, *self._best]
        for value, saved in zip(now, snapshot["state"] + snapshot["best"], strict=True):
            if (value.shape, value.dtype) != (saved.shape, saved.dtype):
                raise ValueError(f"it holds {saved.dtype} {tuple(saved.shape)} for {value.dtype} {tuple(value.shape)}")
            value.copy_(saved)
        self._steps.set_python_state(snapshot["python"])
        self._best_python = snapshot["best_python"]
        self.optimizer.load_state(snapshot["optimizer"])

    # ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def steps_in_block(self) -> int:
        """Return the most steps S that one block takes."""
        numbers = len(self.places) * self.batches.batch_size * self.data.inputs.shape[1]
        return max(1, BLOCK_NUMBERS // numbers)

    def _rows_in_pass(self) -> int:
        """Return the most rows of one member that one forward pass takes when nothing is learned."""
        return max(1, EVALUATION_EXAMPLES // self.data.targets[0].numel())

    def _best_stack(self) -> Stack:
        """Return the tensors of all members at their lowest validation loss."""
        now = self._held.stack
        own = dict(zip(now.own, self._all_own, strict=True))
        return replace(now, members=range(len(self.members)), own=own).with_state(list(self._best))


class _Rounds:
    """What Lightning iterates over: the blocks of the current round."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort

    def __iter__(self) -> Iterator[Tensor]:
        cohort = self._cohort
        return cohort.batches.blocks(*cohort.round_steps(cohort.round), cohort.steps_in_block())
