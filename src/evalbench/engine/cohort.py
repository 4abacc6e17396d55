"""C trials trained in one Lightning fit; `engine.steps` and `engine.paths` say how their steps run.

Shapes: `C` members, `S` steps in a chunk, `B` rows in a batch, `D` features, `K` outputs, `N` rows of the data set.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn, optim

from evalbench import draws, models
from evalbench.engine import gradients, graphs, guard, instances, optimizers, pruning, python_state, state
from evalbench.engine.batches import Batches, Loader
from evalbench.engine.data import Data, pick
from evalbench.engine.members import Member, Recipe, Tally, UnfitSnapshotError
from evalbench.engine.networks import build_all
from evalbench.engine.rows import Chunk
from evalbench.engine.state import Held, HeldStack, Stack, num_bytes
from evalbench.engine.validation import Validation
from evalbench.trial import Position
from evalbench.workloads import Dataset, Split

CHUNK_NUMBERS = 2**20
"""Numbers gathered for a chunk of steps: small enough to stay near the processor."""
EVALUATION_EXAMPLES = 4096
"""Rows of one member, or tokens of language, in one forward pass without learning."""
EVALUATION_STEP = -1
"""The step number that keys the noise of evaluations, so that all evaluations of a trial draw the same noise."""


class Cohort(pl.LightningModule):
    """Train the members' stacked networks; a Lightning batch is a chunk of steps, a Lightning epoch ends in validation.

    A member index is a position in `members`, a slot one in the stack. A member that has diverged or run out of
    patience has *ended*: the stack drops it when enough members have ended, and its record stays in `members`.
    """

    noise_seeds: Tensor  # (C,)
    evaluation_keys: Tensor  # (C,)
    _slots: Tensor  # (slots,), `member_indices` on the device
    _step = 0  # the next one

    def __init__(
        self,
        build: models.Builder,
        dataset: Dataset,
        splits: Sequence[Split],
        batches: Batches,
        recipe: Recipe,
        noise_seeds: Sequence[int],
        settings: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Take the builder of the members' networks, and a split and a noise seed per member.

        `settings` holds each member's hyperparameters if members differ in them. Raises `ConfigError` for a network
        that cannot be trained correctly, if `recipe.verify` asks for the check.
        """
        super().__init__()
        self.automatic_optimization = False
        self.task = dataset.kind
        self.batches = batches
        self.recipe = recipe
        self.members = [Member() for _ in splits]
        self.member_indices = list(range(len(splits)))
        """The member index of each slot of the stack."""
        self.first_interval = 0
        """The validation interval of the first Lightning epoch: above 0 if training was resumed."""
        self.on_interval_end: Callable[[Cohort, int], None] | None = None
        """Called after each validation interval but the last with the next one's number, for example to save."""
        self.on_validated: Callable[[Cohort], None] | None = None
        """Called after each validation to show the members' progress."""
        self._settings = settings
        self.data = Data(dataset, splits, recipe.dtype, recipe.on_host)
        self._on_batch, self._row_weights = nn.ModuleDict(recipe.on_batch), recipe.row_weights
        self._loss = recipe.loss if isinstance(recipe.loss, nn.Module) else None  # so that its tensors move along
        self.validation = Validation(dataset, self.data)
        self.register_buffer("noise_seeds", torch.tensor(list(noise_seeds)), persistent=False)
        keys = draws.step_keys(self.noise_seeds, EVALUATION_STEP, 1)[0]
        self.register_buffer("evaluation_keys", keys, persistent=False)
        self.register_buffer("_slots", torch.arange(len(splits)), persistent=False)
        self._tally = Tally(len(splits))
        self.replay = graphs.Replay(self._compute, self._keys)
        self._best = Held()
        self._best_python: dict[int, python_state.Values] = {}
        self._optimizer: pruning.Optimizer | None = None
        self._snapshot: Mapping[str, Any] | None = None
        self._rank, self._ranks = 0, 1
        networks = build_all(build, recipe, self._example)
        self._steps, self._first_steps, self._checksums = networks.steps, networks.first_steps, networks.checksums
        self._held = HeldStack(networks.stack)
        self._all_own = Held(networks.stack.own.values())
        """The constants that differ between members, of all members, including ended ones."""

    def _example(self, step: int) -> guard.Example:
        """Return the batch of an early step, or its part for one pass."""
        rows = next(self.data.inputs.staged(self.batches.chunks(step, step + 1, 1)))[..., : self.recipe.microbatch_size]
        keys = self._keys(step, 1)
        return guard.Example(*(values[0] for values in (*self._batch(rows, keys), keys)))

    def _keys(self, first_step: int, num_steps: int) -> Tensor:
        """Return the noise keys `(S, C)` of some steps."""
        return draws.step_keys(pick(self.noise_seeds, self._slots), first_step, num_steps)

    def _batch(self, rows: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs `(S, C, B, D)` and targets to train on, for rows `(S, C, B)` and noise keys `(S, C)`."""
        inputs, targets = self.data.gather(rows, self._slots)
        for name, hook in self._on_batch.items():
            inputs, targets = hook(inputs, targets, draws.stream(keys, name), self._slots)
        return inputs, targets if self._row_weights is None else self._row_weights(targets, rows, self._slots)

    @property
    def why_one_by_one(self) -> str | None:
        """The reason why members train one by one; None if they train as one batched model."""
        return self._steps.why_one_by_one

    @property
    def path(self) -> dict[str, Any]:
        """The path that the steps take, with its timings, as plain values."""
        return {**self._steps.path, **self.replay.timings}

    @property
    def keeps_python_state(self) -> bool:
        """Return whether the members' networks change Python state, which their weights would lack."""
        return self._first_steps.python_state

    @property
    def can_be_saved(self) -> bool:
        """Return whether a snapshot holds everything that training needs to resume."""
        return self.optimizer.can_be_saved and self._first_steps.can_be_saved

    def why_not_in_parts(self) -> str | None:
        """Return the reason why a batch must not be split into parts, else None; nothing is learned."""
        with self.recipe.exact.numbers():
            return guard.why_not_in_parts(self._steps.one_by_one, self._held.stack, self._example(0))

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "Cohort":
        """Move everything to another device or dtype, including tensors that torch does not see as the module's."""
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self._steps.move(function)
        if self._optimizer is not None:
            self._optimizer.move(function, self._held.trained)
        self.replay.move(self._slots.device)
        return self

    # ── training ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def train_dataloader(self) -> Loader:
        """Return an iterable over the chunks up to the next validation."""
        self.data.inputs.on_move = self.replay.forget
        return Loader(lambda: self.data.inputs.ahead(self._chunks()))

    def _chunks(self) -> Iterator[Tensor]:
        return self.batches.chunks(*self.interval_steps(self.interval), self.steps_in_chunk())

    def configure_optimizers(self) -> list[optim.Optimizer]:
        """Build the optimizer when the parameters are on their device."""
        return self.optimizer.optimizers

    @property
    def optimizer(self) -> pruning.Optimizer:
        """The optimizer of all members, made at the first access."""
        if self._optimizer is None:
            config, parameters, settings = self.recipe.optimizer, self._held.trained, self._settings
            own = settings or [{} for _ in self.member_indices]
            steps = self.recipe.validation_steps[-1]
            tables = instances.scheduled(self.recipe.schedule, config.component, parameters, own, steps)
            optimizer = optimizers.build(config, parameters, settings, not self._steps.batched, tables)
            self._optimizer = pruning.pruned(optimizer, parameters, *self.recipe.pruned, steps)
            if not len(self._best):
                self._best.hold(value.clone() for value in self._held.stack.state)
        return self._optimizer

    @property
    def interval(self) -> int:
        """The number of the current validation interval."""
        return self.first_interval + self.current_epoch

    @property
    def position(self) -> Position:
        """How far the training has come; another thread may read it."""
        return Position(len(self.members), self._step, self.recipe.validation_steps[-1])

    @property
    def is_rank_zero(self) -> bool:
        """Return whether this process writes checkpoints and weights."""
        return self._rank == 0

    def interval_steps(self, number: int) -> tuple[int, int]:
        """Return a validation interval's first step and the first step after it."""
        steps = self.recipe.validation_steps
        return (steps[number - 1] if number else 0), steps[number]

    @torch.no_grad()
    def training_step(self, chunk: Chunk, batch_idx: int) -> None:
        """Take S optimizer steps for every member on the rows of a chunk, `(S, C, B)`."""
        rows = self.data.inputs.stage(chunk)
        if batch_idx == 0:
            self._step = self.interval_steps(self.interval)[0]
            self._tally.begin(len(self.member_indices))
        self._tally.note(self.train_chunk(rows, self._step), self._step, rows.shape[2])
        self._step += len(rows)

    @property
    def _is_replayed(self) -> bool:
        """Return whether steps run on static tensors, so that a CUDA graph can repeat them."""
        if self.replay.device is None or self.why_one_by_one is not None or self._ranks > 1:
            return False
        return not self.optimizer.calls.closure

    def train_chunk(self, rows: Tensor, first_step: int) -> Tensor:
        """Take S optimizer steps for every member on rows `(S, C, B)`; return the losses `(S, C)` in float64."""
        self.optimizer.switch(training=True)
        with self.recipe.numbers():
            most = self.steps_in_chunk()
            if self._is_replayed:
                return self.replay.take(rows, first_step, most, self.optimizer)
            keys = self.replay.keys(first_step, len(rows))  # of more steps than `most` if their replay was given up
            parts = [slice(start, start + most) for start in range(0, len(rows), most)]
            return torch.cat([self._train_chunk(rows[p], keys[p], first_step + p.start) for p in parts])

    def _train_chunk(self, rows: Tensor, keys: Tensor, first_step: int) -> Tensor:
        optimizer, stack = self.optimizer, self._held.stack
        chunk_losses = []
        batch = (values.unbind() for values in (*self._batch(rows, keys), keys))
        for step, (step_inputs, step_targets, key) in enumerate(zip(*batch, strict=True)):
            optimizer.schedule(first_step + step)
            if optimizer.calls.closure:
                loss = self._step_with_closures(stack, step_inputs, step_targets, key)
            else:
                named, loss, without = self._gradients(stack, step_inputs, step_targets, key)
                optimizer.step(named, without, key)
            chunk_losses.append(loss)
        return torch.stack(chunk_losses).double()

    def _compute(self, rows: Tensor, keys: Tensor) -> optimizers.Computed:
        """Return the gradients of a step on rows `(C, B)` with noise keys `(C,)`."""
        inputs, targets = self._batch(rows[None], keys[None])
        return self._gradients(self._held.stack, inputs[0], targets[0], keys)

    def _step_with_closures(self, stack: Stack, inputs: Tensor, targets: Tensor, key: Tensor) -> Tensor:
        """Let each member's optimizer request gradients itself, of the same batch with the same noise each time."""

        def compute(slot: int) -> optimizers.Computed:
            member_batch = (value[slot : slot + 1] for value in (inputs, targets, key))
            return self._gradients(stack.only(slot), *member_batch)

        loss, num_calls = self.optimizer.step_with_closures(compute, key)
        for member_index, calls in zip(self.member_indices, num_calls, strict=True):
            self.members[member_index].extra_examples += (calls - 1) * inputs.shape[1]
        return loss

    def _gradients(self, stack: Stack, inputs: Tensor, targets: Tensor, key: Tensor) -> optimizers.Computed:
        """Return the gradients of the global batch by `gradients.of_batch`, changed by the gradient hooks."""
        batch, max_rows = (inputs, targets, key), self.recipe.microbatch_size
        named, loss, without = gradients.of_batch(self._steps, stack, batch, max_rows, self._rank, self._ranks)
        for hook in self.recipe.on_gradients:
            named = hook(named)
        return named, loss, without

    # ── validation, test ──────────────────────────────────────────────────────────────────────────────────────────────

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        """Validate every member; keep its state if the validation is its best so far."""
        start, stop = self.interval_steps(self.interval)
        num_examples = self.batches.examples(stop) - self.batches.examples(start)
        self._tally.end_diverged([self.members[index] for index in self.member_indices])
        self.optimizer.switch(training=False)
        with self.trainer.precision_plugin.val_step_context():
            rows = pick(self.data.validation_rows, self.member_indices)
            kept = pruning.kept(self.optimizer, self._held.stack)
            outputs = self._evaluate(kept, rows, self.validation.tests)  # (C, rows, K)
        validated = self.validation(outputs, rows, self.member_indices)
        train_losses = (self._tally.sums / num_examples).tolist()
        improved = []
        for slot, member_index in enumerate(self.member_indices):
            member, patience = self.members[member_index], self.recipe.patience
            if not member.ended and member.note_validation(train_losses[slot], validated[slot], stop, patience):
                improved.append(slot)
        if self.on_validated is not None:
            self.on_validated(self)
        improved_members = [self.member_indices[slot] for slot in improved]
        for best, current in zip(self._best, kept.state, strict=True):
            best[improved_members] = current[improved]
        self._best_python |= self._steps.python_state(improved_members)
        self._prune()
        training = [slot for slot, index in enumerate(self.member_indices) if not self.members[index].ended]
        if not training:
            self.trainer.should_stop = True
        elif len(training) < self._steps.compact_below * len(self.member_indices):
            self._compact(training)
        if self.on_interval_end is not None and training and self.interval + 1 < len(self.recipe.validation_steps):
            self.on_interval_end(self, self.interval + 1)

    def _prune(self) -> None:
        """End the members whose candidates are not among the best at this rung."""
        halving = self.recipe.halving
        if halving is None or self.interval + 1 == len(self.recipe.validation_steps):
            return
        scores = [member.pruning_score(halving.by_loss, halving.sign) for member in self.members]
        ended = [member.ended for member in self.members]
        for member_index in halving.losers(scores, ended, self.interval + 1):
            self.members[member_index].pruned = self.members[member_index].ended = True

    def _compact(self, keep: list[int]) -> None:
        """Keep only some slots of the stack; the records of the dropped members stay."""
        self._held.hold(self._held.stack.take(keep))
        self.batches = self.batches.keep(keep)
        self.optimizer.keep(keep, self._held.trained)
        self.member_indices = [self.member_indices[slot] for slot in keep]
        self._slots = torch.tensor(self.member_indices, device=self._slots.device)
        self.replay.forget()

    @torch.no_grad()
    def metrics(self, rows: Tensor, member_indices: Sequence[int]) -> list[dict[str, float]]:
        """Return the metrics of some members on rows `(C, rows)` of all members, from each one's best validation."""
        state.check_unchanged(self.shared_tensors, self._checksums)
        self._steps.set_python_state(self._best_python)
        chosen = torch.as_tensor(list(member_indices), dtype=torch.int64, device=rows.device)
        outputs = self._evaluate(self._best_stack(), rows, tested=True)[chosen]
        return self.validation.metrics(outputs, rows[chosen], member_indices)

    def best_weights(self, member_index: int) -> dict[str, Tensor]:
        """Return a member's own tensors at the lowest validation loss, by name."""
        tensors = self._best_stack().member(member_index)
        return {name: value for name, value in tensors.items() if name not in self.shared_tensors}

    def current_weights(self, member_index: int) -> dict[str, Tensor]:
        """Return a member's tensors as they are now, by name."""
        return self._held.stack.member(self.member_indices.index(member_index))

    @property
    def shared_tensors(self) -> dict[str, Tensor]:
        """The tensors that all members share, by name: one copy, which nothing changes."""
        return self._held.stack.shared

    def _evaluate(self, stack: Stack, rows: Tensor, tested: bool) -> Tensor:
        """Return the outputs `(C, rows, K)` of members for rows `(C, rows)`, those of a test if they are `tested`."""
        with self.recipe.numbers():
            keys = pick(self.evaluation_keys, stack.member_indices)
            parts, first = [], 0
            for part in self.data.inputs.staged(torch.split(rows, self._rows_in_pass(), dim=1)):
                inputs = self.data.gather(part[None], stack.member_indices)[0][0]
                forward = partial(self._steps.forward, stack, keys=keys, row=first)
                parts.append(self.task.tested(forward, inputs) if tested else forward(inputs))
                first += part.shape[1]
            return torch.cat(parts, dim=1).to(self.recipe.dtype)

    @property
    def state_bytes(self) -> int:
        """The bytes of the tensors that training changes, of all members."""
        return num_bytes(self._held.stack.state)

    @property
    def constant_bytes(self) -> int:
        """The bytes of the tensors that never change: the shared copy, and each member's own."""
        return num_bytes([*self._held.stack.own.values(), *self.shared_tensors.values()])

    @torch.no_grad()
    def trace_memory(self) -> tuple[int, int]:
        """Return the peak bytes of a step and of a validation pass; nothing is learned."""
        rows = next(self.data.inputs.staged(self.batches.chunks(0, 1, 1)))
        inputs, targets = (values[0] for values in self._batch(rows, self._keys(0, 1)))
        max_rows = min(self.recipe.microbatch_size or rows.shape[2], rows.shape[2])
        validated = next(self.data.inputs.staged([self.data.validation_rows[None, :, : self._rows_in_pass()]]))
        validation_inputs = self.data.gather(validated, self.member_indices)[0][0]
        stack, keys = self._held.stack, self.noise_seeds
        with self.recipe.numbers():
            step = self._steps.peak_bytes(stack, inputs[:, :max_rows], targets[:, :max_rows], keys)
            return step, self._steps.forward_peak_bytes(stack, validation_inputs, keys)

    # ── saving and resuming ───────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self, next_interval: int) -> dict[str, Any]:
        """Return everything that training needs to resume at a validation interval: tensors and plain values.

        It holds no generator, because splits, orders and noise are functions of the seeds, and no constants.
        """
        return {
            "round": next_interval,
            "places": list(self.member_indices),
            "members": [asdict(member) for member in self.members],
            "state": self._held.stack.state,
            "best": list(self._best),
            "optimizer": self.optimizer.state(),
            "python": python_state.plain_of_all(self._steps.python_state(self.member_indices)),
            "best_python": python_state.plain_of_all(self._best_python),
        }

    def resume(self, snapshot: Mapping[str, Any]) -> None:
        """Resume from the snapshot once Lightning has put the cohort on its device.

        Raises `ValueError` or `KeyError` if this is no snapshot. `on_fit_start` checks whether it fits the cohort.
        """
        num_intervals = len(self.recipe.validation_steps)
        if snapshot["round"] not in range(1, num_intervals):
            raise ValueError(
                f"its next validation interval must be from 1 to {num_intervals - 1}, not {snapshot['round']}"
            )
        self.first_interval = snapshot["round"]
        self._snapshot = snapshot

    @torch.no_grad()
    def on_fit_start(self) -> None:
        """Read this process's rank; load the snapshot, if any, or raise `UnfitSnapshotError`."""
        self._rank, self._ranks = self.trainer.global_rank, self.trainer.world_size
        if self._snapshot is None:
            return
        snapshot, self._snapshot = self._snapshot, None
        try:
            self._load(snapshot)
        except Exception as error:  # a snapshot of another cohort may raise anything
            raise UnfitSnapshotError(f"{type(error).__name__}: {error}") from error

    def _load(self, snapshot: Mapping[str, Any]) -> None:
        if len(snapshot["members"]) != len(self.members):
            raise ValueError(f"it has {len(snapshot['members'])} members, not {len(self.members)}")
        self.members = [Member(**values) for values in snapshot["members"]]
        if len(snapshot["places"]) < len(self.member_indices):
            self._compact(snapshot["places"])
        held = [*self._held.stack.state, *self._best]
        for value, saved in zip(held, snapshot["state"] + snapshot["best"], strict=True):
            if (value.shape, value.dtype) != (saved.shape, saved.dtype):
                raise ValueError(f"it holds {saved.dtype} {tuple(saved.shape)}, not {value.dtype} {tuple(value.shape)}")
            value.copy_(saved)
        self._steps.set_python_state(snapshot["python"])
        self._best_python = snapshot["best_python"]
        self.optimizer.load_state(snapshot["optimizer"])
        self.replay.forget()

    def steps_in_chunk(self) -> int:
        """Return the maximal number of steps S of a chunk."""
        rows = len(self.member_indices) * self.batches.batch_size
        holds_inputs = self.recipe.on_host or not self._is_replayed
        return max(1, CHUNK_NUMBERS // (rows * self.data.num_columns if holds_inputs else rows))

    def _rows_in_pass(self) -> int:
        """Return the maximal number of rows of one member in a forward pass without learning."""
        numbers = self.data.num_columns if self.task.answers else self.data.targets[0].numel()
        return max(1, EVALUATION_EXAMPLES // numbers)

    def _best_stack(self) -> Stack:
        """Return the tensors of all members at their lowest validation loss."""
        stack = self._held.stack
        own = dict(zip(stack.own, self._all_own, strict=True))
        return replace(stack, member_indices=range(len(self.members)), own=own).with_state(list(self._best))
