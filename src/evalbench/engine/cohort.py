"""C trials trained as one batched model in one Lightning fit.

The step of one trial is a pure function; `vmap` adds the member axis, and the result is traced once per batch shape
into a graph of plain tensor operations, which is replayed: neither autograd nor vmap is paid for in each step.

Shapes: `C` members, `S` steps in a block, `B` rows in a batch, `D` features, `K` outputs, `N` rows of the data set.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn, optim
from torch.func import vmap

from evalbench.config import Component, OptimizerConfig
from evalbench.engine import guard, noise, optimizers, python_state, state
from evalbench.engine.batches import Batches
from evalbench.engine.halving import Halving
from evalbench.engine.one_by_one import OneByOne
from evalbench.engine.state import Held, Stack
from evalbench.engine.steps import MemberStep, Steps
from evalbench.workloads import Dataset, Split, fit_scaling, losses

log = logging.getLogger(__name__)

BLOCK_NUMBERS = 2**20
"""Numbers gathered for one block of steps: small enough to stay near the processor."""
EVALUATION_EXAMPLES = 4096
"""Rows of one member, or tokens of language, that one forward pass takes when nothing is learned."""
EVALUATION_STEP = -1
"""The step that stands for all evaluations where noise is drawn, so that all of a trial draw the same."""
COMPACT_BELOW = 0.8
"""Members that have ended are dropped once the others are fewer than this share: each drop costs a new trace."""


@dataclass
class Member:
    """What is known of one member while it trains; plain values, so that it can be saved."""

    val_losses: list[float] = field(default_factory=list)
    val_scores: list[float] = field(default_factory=list)
    train_losses: list[float] = field(default_factory=list)
    diverged_step: int | None = None
    best_round: int | None = None
    ended: bool = False
    pruned: bool = False
    extra_examples: int = 0
    """Examples that its optimizer asked for again in closures, beside those of its steps."""

    @property
    def best_loss(self) -> float:
        """The lowest validation loss so far."""
        return float("inf") if self.best_round is None else self.val_losses[self.best_round]

    def standing(self, by_loss: bool) -> float:
        """What it is compared by, larger is better: of the epoch with the lowest validation loss."""
        if self.diverged_step is not None or self.best_round is None:
            return float("-inf")
        return -self.best_loss if by_loss else self.val_scores[self.best_round]


@dataclass(frozen=True)
class Recipe:
    """How every member is trained."""

    optimizer: OptimizerConfig
    validation_steps: Sequence[int]
    """The steps after which to validate, ascending; the last one ends the trial."""
    schedule: Component | None = None
    patience: int | None = None
    label_smoothing: float = 0.0
    microbatch_size: int | None = None
    """Most rows that one pass takes; a larger batch is accumulated, exactly."""
    halving: Halving | None = None
    """Which members end early because others are better."""
    verify: bool = False
    """Compare the first steps with plain PyTorch, and train one by one where they differ."""
    dtype: torch.dtype = torch.float32
    """What all numbers are held and computed in, float32 or float64, unless autocast computes in another."""


class UnfitSnapshotError(Exception):
    """A snapshot is of another cohort than the one that was to go on from it."""


class Cohort(pl.LightningModule):
    """The members' networks, stacked; a Lightning batch is a block of steps, a Lightning epoch ends in a validation.

    Members are told apart by their place at the start. One that has diverged or run out of patience has *ended*: it is
    dropped from the stack when enough others have, and its place in `members` keeps its record.
    """

    inputs: Tensor  # (N, D), whole numbers where they are tokens
    targets: Tensor  # (N,), or (N, D) for language
    mean: Tensor  # (C, D), as is the next
    std: Tensor
    target_mean: Tensor  # (C,), as is the next
    target_std: Tensor
    validation_rows: Tensor  # (C, rows), as is the next
    test_rows: Tensor
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

        Hyperparameters are given where members differ in them. Raises `ConfigError` for a network that
        cannot be trained rightly, where `recipe.verify` asks for that.
        """
        super().__init__()
        self.automatic_optimization = False
        self.kind = dataset.kind
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
        self._register_data(dataset, splits)
        self.register_buffer("noise_seeds", torch.tensor(list(noise_seeds)), persistent=False)
        self.register_buffer("_loss_sums", torch.zeros(len(splits), dtype=torch.float64), persistent=False)
        self._best = Held()
        self._best_python: dict[int, python_state.Values] = {}
        self._optimizer: optimizers.CohortOptimizer | optimizers.SplitOptimizer | None = None
        self._snapshot: Mapping[str, Any] | None = None
        self._rank, self._ranks = 0, 1
        self._stack_networks(build)

    def _stack_networks(self, build: Callable[[int], nn.Module]) -> None:
        """Stack the members' tensors; decide whether they are batched."""
        build = self._in_precision(build)
        first = build(0)
        observed = [python_state.observe(first)] if self.recipe.verify else []

        def built() -> Iterator[nn.Module]:
            yield first
            for member in self.places[1:]:
                network = build(member)
                if observed:
                    observed.append(python_state.observe(network))
                yield network

        with self._numbers():
            inputs = self._example(0).inputs[0]
            changing = state.changing(first, inputs) if state.constants(first) else set()
        stack = state.stack(built(), changing)
        kind, smoothing = self.kind, self.recipe.label_smoothing
        self._checksums: dict[str, int] = {}
        self._verdict = guard.Verdict()

        def one_by_one() -> OneByOne:
            return OneByOne(build, kind, smoothing)

        steps = Steps(MemberStep(first, kind, stack, smoothing), one_by_one)
        if self.recipe.verify:
            examples = [self._example(number) for number in range(guard.NUM_EXAMPLES)]
            with torch.no_grad(), self._numbers():
                verdict = guard.verify(build(0), observed, one_by_one, steps, stack, examples)
            self._verdict = verdict
            if verdict.why_one_by_one is not None:
                steps.give_up(verdict.why_one_by_one)
                stack = stack.carrying({*verdict.written, *(name for name, _ in first.named_buffers())})
                self._checksums = {name: state.fingerprint(value) for name, value in stack.shared.items()}
            elif verdict.idle:
                stack = stack.not_training(verdict.idle)
                steps = Steps(MemberStep(first, kind, stack, smoothing), one_by_one)
        self._steps = steps
        self._hold(stack)
        self._all_own = self._own
        """The constants that differ between members, of all of them, whoever has ended."""

    def _in_precision(self, build: Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
        """Draw initial values in 32 bits whenever a network is built, and hold them in the cohort's precision."""

        def build_there(member: int) -> nn.Module:
            with _default_dtype(torch.float32):
                network = build(member)
            return network.double() if self.recipe.dtype is torch.float64 else network

        return build_there

    def _numbers(self) -> AbstractContextManager[None]:
        """Let tensors that a network makes be of the cohort's precision."""
        return _default_dtype(self.recipe.dtype)

    def _hold(self, stack: Stack) -> None:
        """Hold tensors where Lightning and the optimizer look for them, in the stack's order."""
        self._names = tuple(tuple(part) for part in (stack.trained, stack.carried, stack.own, stack.shared))
        self._trained = nn.ParameterList(nn.Parameter(value) for value in stack.trained.values())
        self._carried, self._own, self._shared = (
            Held(part.values()) for part in (stack.carried, stack.own, stack.shared)
        )

    def _example(self, step: int) -> guard.Example:
        """Return a batch of one of the first steps, or the part of it that one pass takes."""
        rows = next(self.batches.blocks(step, step + 1, 1))[..., : self.recipe.microbatch_size]
        inputs, targets = (values[0] for values in self.gather(rows))
        return guard.Example(inputs, targets, noise.step_keys(self.noise_seeds, step, 1)[0])

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
        with self._numbers():
            return guard.why_not_in_parts(self._steps.one_by_one, self._stack(), self._example(0))

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "Cohort":
        """Move everything to another device or type, also what torch does not see as a part of the module."""
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self._steps.move(function)
        if self._optimizer is not None:
            self._optimizer.move(function, self._parameters_now())
        return self

    def _register_data(self, dataset: Dataset, splits: Sequence[Split]) -> None:
        """The data lie on the device once; a batch is an index, scaled by its member's own statistics at the gather."""
        scalings = [fit_scaling(dataset, split.train) for split in splits]
        floats = {
            "mean": np.stack([scaling.mean for scaling in scalings]),
            "std": np.stack([scaling.std for scaling in scalings]),
            "target_mean": np.array([scaling.target_mean for scaling in scalings]),
            "target_std": np.array([scaling.target_std for scaling in scalings]),
        }
        for name, value in floats.items():
            self.register_buffer(name, torch.tensor(value, dtype=self.recipe.dtype), persistent=False)
        self._has_tokens = dataset.vocabulary is not None
        kind = torch.int64 if self._has_tokens else self.recipe.dtype
        self.register_buffer("inputs", torch.tensor(dataset.inputs, dtype=kind), persistent=False)
        self.register_buffer("targets", torch.tensor(dataset.targets), persistent=False)
        self.register_buffer("validation_rows", _stack(splits, "validation"), persistent=False)
        self.register_buffer("test_rows", _stack(splits, "test"), persistent=False)
        self._has_missing = bool(np.isnan(dataset.inputs).any())

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
            config, parameters, settings = self.recipe.optimizer, self._parameters_now(), self._settings
            own = settings or [{} for _ in self.places]
            steps = self.recipe.validation_steps[-1]
            tables = optimizers.scheduled(self.recipe.schedule, config.component, parameters, own, steps)
            self._optimizer = optimizers.build(config, parameters, settings, alone, tables)
            if not len(self._best):
                self._best.hold(value.clone() for value in self._stack().state)
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
        with self._numbers():
            return self._train_block(rows, first_step)

    def _train_block(self, rows: Tensor, first_step: int) -> Tensor:
        optimizer, stack = self.optimizer, self._stack()
        optimizer.switch(training=True)
        inputs, targets = self.gather(rows)
        keys = noise.step_keys(self._of(self.noise_seeds, self.places), first_step, len(rows))  # (S, C)
        block = []
        for step, (step_inputs, step_targets, key) in enumerate(
            zip(inputs.unbind(), targets.unbind(), keys.unbind(), strict=True)
        ):
            optimizer.schedule(first_step + step)
            if optimizer.calls.closure:
                loss = self._step_with_closures(stack, step_inputs, step_targets, key)
            else:
                gradients, loss, without = self._gradients(stack, step_inputs, step_targets, key)
                optimizer.step(gradients, without, key)
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
        """Return the gradients by name, each `(C, *shape)`, and the losses `(C,)` of one step over the global batch.

        The third are the places of members whose parameter took no part, by name. A batch is a sum over parts, each
        weighted by its share of the rows: micro-batches here, slices on other ranks.
        """
        rows = inputs.shape[1]
        start, stop = _share_of(rows, self._rank, self._ranks)
        most = self.recipe.microbatch_size or rows
        total: list[Tensor] = []
        without: optimizers.Without = {}
        for first in range(start, stop, most):
            last = min(first + most, stop)
            part = self._steps(stack, inputs[:, first:last], targets[:, first:last], key, first)
            for buffer, value in zip(stack.carried.values(), part.carried, strict=True):
                buffer.copy_(value)
            numbers = [*part.gradients, part.loss]
            if last - first < rows:
                torch._foreach_mul_(numbers, (last - first) / rows)
            absent = dict(zip(stack.trained, part.without, strict=False))
            without = {name: places & absent[name] for name, places in without.items()} if total else absent
            total = list(torch._foreach_add(total, numbers)) if total else numbers
        if self._ranks > 1:
            _sum_over_ranks(total)
            without = _without_on_all_ranks(without, len(stack.members), inputs.device)
        gradients = dict(zip(stack.trained, total[:-1], strict=True))
        if self.recipe.optimizer.clip_norm is not None:
            gradients = optimizers.clip_per_member(gradients, self.recipe.optimizer.clip_norm)
        return gradients, total[-1], without

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
        """Validate every member; remember its state where the validation loss is the lowest so far."""
        start, stop = self.round_steps(self.round)
        seen = self.batches.examples(stop) - self.batches.examples(start)
        self.optimizer.switch(training=False)
        with self.trainer.precision_plugin.val_step_context():
            rows = self._of(self.validation_rows, self.places)
            outputs = self._evaluate(self._stack(), rows)  # (C, rows, K)
        targets = self._targets(rows, self.places)
        val_losses = vmap(losses.loss_function(self.kind))(outputs, targets).double().tolist()
        val_scores = losses.score(self.kind, outputs, targets).double().tolist()
        train_losses = (self._loss_sums / seen).tolist()
        improved = []
        for place, index in enumerate(self.places):
            member = self.members[index]
            if member.ended:
                continue
            if not np.isfinite(val_losses[place]):
                member.diverged_step, member.ended = stop, True
                continue
            if val_losses[place] < member.best_loss:
                member.best_round = len(member.val_losses)
                improved.append(place)
            member.val_losses.append(val_losses[place])
            member.val_scores.append(val_scores[place])
            member.train_losses.append(train_losses[place])
            since = len(member.val_losses) - 1 - (member.best_round or 0)
            member.ended = self.recipe.patience is not None and since >= self.recipe.patience
        if self.on_validated is not None:
            self.on_validated(self)
        for best, now in zip(self._best, self._stack().state, strict=True):
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
        standing = [member.standing(halving.by_loss) for member in self.members]
        ended = [member.ended for member in self.members]
        for index in halving.losers(standing, ended, self.round + 1):
            self.members[index].pruned = self.members[index].ended = True

    def _compact(self, keep: list[int]) -> None:
        """Go on with the members at some places of the stack; what was measured of the others stays."""
        self._hold(self._stack().take(keep))
        self.batches = self.batches.keep(keep)
        self.optimizer.keep(keep, self._parameters_now())
        self.places = [self.places[place] for place in keep]

    @torch.no_grad()
    def test_predictions(self) -> Iterator[NDArray[np.float64]]:
        """Yield every member's predictions on its test rows, from the state with the lowest validation loss.

        Class probabilities `(rows, classes)`, token probabilities `(rows, D, tokens)`, or numbers `(rows,)` in the
        target's own unit.
        """
        yield from self._predict(self.test_rows)

    @torch.no_grad()
    def validation_predictions(self) -> Iterator[NDArray[np.float64]]:
        """Yield every member's predictions on its validation rows, as `test_predictions` does."""
        yield from self._predict(self.validation_rows)

    def _predict(self, rows: Tensor) -> Iterator[NDArray[np.float64]]:
        self._check_shared()
        self._steps.set_python_state(self._best_python)
        for member, outputs in enumerate(self._evaluate(self._best_stack(), rows)):
            predictions = losses.predict(self.kind, outputs)
            if self.kind == "regression":
                predictions = predictions * self.target_std[member] + self.target_mean[member]
            yield predictions.cpu().numpy()

    def best_weights(self, member: int) -> dict[str, Tensor]:
        """Return a member's own tensors at the lowest validation loss, by name."""
        everything = self._best_stack().member(member)
        return {name: value for name, value in everything.items() if name not in self.shared_tensors}

    @property
    def shared_tensors(self) -> dict[str, Tensor]:
        """What all members share, by name: one copy, which nothing changes."""
        return self._stack().shared

    def _check_shared(self) -> None:
        """Raise `RuntimeError` where a network that trains alone has written into what all members share."""
        for name, value in zip(self._names[3], self._shared, strict=True):
            if self._checksums and state.fingerprint(value) != self._checksums[name]:
                raise RuntimeError(f"the network has changed {name}, which does not train, and only after a while")

    def _evaluate(self, stack: Stack, rows: Tensor) -> Tensor:
        """Return the outputs `(C, rows, K)` of members for rows `(C, rows)`."""
        with self._numbers():
            return self._outputs(stack, rows).to(self.recipe.dtype)

    def _outputs(self, stack: Stack, rows: Tensor) -> Tensor:
        keys = noise.step_keys(self._of(self.noise_seeds, stack.members), EVALUATION_STEP, 1)[0]
        parts, first = [], 0
        for part in torch.split(rows, self._rows_in_pass(), dim=1):
            parts.append(self._steps.forward(stack, self.gather(part[None], stack.members)[0][0], keys, first))
            first += part.shape[1]
        return torch.cat(parts, dim=1)

    @property
    def state_bytes(self) -> int:
        """The size of what training changes, of all members."""
        return _bytes(self._stack().state)

    @property
    def constant_bytes(self) -> int:
        """The size of the tensors that never change: one copy of what all members share, and what each has alone."""
        return _bytes([*self._own, *self._shared])

    @torch.no_grad()
    def trace_memory(self) -> tuple[int, int]:
        """Return what a step and a validation pass hold at their worst moment, in bytes; nothing is learned."""
        rows = next(self.batches.blocks(0, 1, 1))
        inputs, targets = (values[0] for values in self.gather(rows))
        most = min(self.recipe.microbatch_size or rows.shape[2], rows.shape[2])
        evaluated = self.gather(self.validation_rows[None, :, : self._rows_in_pass()])[0][0]
        with self._numbers():
            step = self._steps.peak_bytes(self._stack(), inputs[:, :most], targets[:, :most], self.noise_seeds)
            return step, self._steps.forward_peak_bytes(self._stack(), evaluated, self.noise_seeds)

    # ── saving and resuming ───────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self, next_round: int) -> dict[str, Any]:
        """Return everything that training needs to go on at a round: tensors and plain values.

        No generator is among it: splits, orders and noise are functions of the seeds. Nor are constants.
        """
        return {
            "round": next_round,
            "places": list(self.places),
            "members": [asdict(member) for member in self.members],
            "state": self._stack().state,
            "best": list(self._best),
            "optimizer": self.optimizer.state(),
            "python": _plain(self._steps.python_state(self.places)),
            "best_python": _plain(self._best_python),
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
        now = [*self._stack().state, *self._best]
        for value, saved in zip(now, snapshot["state"] + snapshot["best"], strict=True):
            if (value.shape, value.dtype) != (saved.shape, saved.dtype):
                raise ValueError(f"it holds {saved.dtype} {tuple(saved.shape)} for {value.dtype} {tuple(value.shape)}")
            value.copy_(saved)
        self._steps.set_python_state(snapshot["python"])
        self._best_python = snapshot["best_python"]
        self.optimizer.load_state(snapshot["optimizer"])

    # ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def gather(self, rows: Tensor, places: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Return the scaled inputs `(S, C, B, D)` and targets `(S, C, B)` of rows `(S, C, B)`.

        Tokens are not scaled; the targets of language are `(S, C, B, D)`.
        """
        places = self.places if places is None else places
        if self._has_tokens:
            return self.inputs[rows], self._targets(rows, places)
        inputs = self.inputs[rows]  # a copy, and large: it is scaled where it lies
        inputs.sub_(self._of(self.mean, places)[:, None]).div_(self._of(self.std, places)[:, None])
        if self._has_missing:
            inputs.nan_to_num_(nan=0.0)
        return inputs, self._targets(rows, places)

    def _targets(self, rows: Tensor, places: Sequence[int]) -> Tensor:
        """Return the targets, scaled for regression, in the shape of `rows`, whose last axes are `(C, B)`.

        For language an axis of places follows.
        """
        targets = self.targets[rows]
        if self.kind == "regression":
            return (targets - self._of(self.target_mean, places)[:, None]) / self._of(self.target_std, places)[:, None]
        return targets

    def _of(self, values: Tensor, places: Sequence[int]) -> Tensor:
        """Return those rows of a tensor with a row per member that belong to the members in some places."""
        return values if len(places) == len(values) else values[list(places)]

    def steps_in_block(self) -> int:
        """Return the most steps S that one block takes."""
        numbers = len(self.places) * self.batches.batch_size * self.inputs.shape[1]
        return max(1, BLOCK_NUMBERS // numbers)

    def _rows_in_pass(self) -> int:
        """Return the most rows of one member that one forward pass takes when nothing is learned."""
        return max(1, EVALUATION_EXAMPLES // self.targets[0].numel())

    def _parameters_now(self) -> dict[str, nn.Parameter]:
        return dict(zip(self._names[0], self._trained, strict=True))

    def _stack(self) -> Stack:
        """Return the tensors of the members that still train."""
        trained = [parameter.data for parameter in self._trained]
        parts: Sequence[Iterable[Tensor]] = (trained, self._carried, self._own, self._shared)
        named = (dict(zip(names, part, strict=True)) for names, part in zip(self._names, parts, strict=True))
        return Stack(self.places, *named)

    def _best_stack(self) -> Stack:
        """Return the tensors of all members at their lowest validation loss."""
        now = self._stack()
        own = dict(zip(now.own, self._all_own, strict=True))
        return replace(now, members=range(len(self.members)), own=own).with_state(list(self._best))


class _Rounds:
    """What Lightning iterates over: the blocks of the current round."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort

    def __iter__(self) -> Iterator[Tensor]:
        cohort = self._cohort
        return cohort.batches.blocks(*cohort.round_steps(cohort.round), cohort.steps_in_block())


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _share_of(rows: int, rank: int, ranks: int) -> tuple[int, int]:
    """Return the slice of a batch's rows that a rank takes."""
    return rows * rank // ranks, rows * (rank + 1) // ranks


def _sum_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Add up tensors over all ranks, in place and in one message."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _without_on_all_ranks(without: optimizers.Without, places: int, device: torch.device) -> optimizers.Without:
    """Return which gradients are none on every rank, by parameter."""
    if not without:
        return without
    flags = torch.tensor([[place in those for place in range(places)] for those in without.values()], device=device)
    counts = flags.int()
    torch.distributed.all_reduce(counts, torch.distributed.ReduceOp.MIN)
    return {name: frozenset(row.nonzero().flatten().tolist()) for name, row in zip(without, counts, strict=True)}


def _stack(splits: Sequence[Split], part: str) -> Tensor:
    return torch.as_tensor(np.stack([getattr(split, part) for split in splits]))


def _plain(states: Mapping[int, python_state.Values]) -> dict[int, python_state.Values]:
    return {member: python_state.plain_only(values) for member, values in states.items()}


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(value.numel() * value.element_size() for value in tensors)
