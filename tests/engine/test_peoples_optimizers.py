"""Optimizers as people write them: each gets the numbers of a plain PyTorch loop, or is refused in one line.

docs/optimizers.md shows the table below; `cd tests && python -m engine.test_peoples_optimizers` writes it anew.
"""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import optim

import peoples_optimizers as people
from conftest import make_cell
from evalbench.cell import Cell
from evalbench.engine import checks, training
from evalbench.errors import ConfigError
from evalbench.trial import State
from plain import train as train_plainly

PAGE = Path(__file__).parents[2] / "docs" / "optimizers.md"
TEXT = """\
`optimizer._target_` names a `torch.optim.Optimizer`, or a function that returns an optimizer. evalbench calls it with
the list of one trial's parameters and with the settings beside `_target_`. If it has an argument `named_parameters`, it
gets pairs of a name and a parameter instead of the list, for example to make groups of parameters:

```python
def without_decay_of_biases(named_parameters, lr, weight_decay):
    groups = {True: [], False: []}
    for name, parameter in named_parameters:
        groups[parameter.ndim > 1].append(parameter)
    return torch.optim.AdamW(
        [{"params": groups[True], "weight_decay": weight_decay}, {"params": groups[False], "weight_decay": 0.0}], lr=lr
    )
```

An optimizer does not get the network itself; it needs only the name and the shape of each parameter.

- **Groups** keep their own settings, also under a schedule. The schedule is torch's real scheduler on the real groups.
  In a schedule, `lr` means the optimizer's learning rate, or the list of its groups' learning rates if they differ.
- **Closures.** An optimizer that evaluates the loss again after it has moved (SAM, LBFGS) gets a closure, member by
  member. The closure computes loss and gradients anew, on the same batch with the same noise, and clips the gradients
  if `clip_norm` is set. Two steps on a copy of the parameters show if a class needs a closure. FLOPs count every pass.
- **`train()` and `eval()`** are called if a class has them: before steps, and before each validation. evalbench keeps
  and tests the validated weights.
- **Random numbers** in a step come from the trial's own stream.
- A class of torch's own with an elementwise update moves all members at once. Any other class gets an instance per
  member.

A test (`tests/peoples_optimizers.py`) trains each of these optimizers with three seeds together, with one seed alone,
and in a plain PyTorch loop. Losses and metrics are equal, or evalbench refuses the optimizer in one line before
anything trains."""
TOLERANCE = 1e-4
"""Relative, of losses after 6 steps in 32 bits: sums are taken in another order, about 1e-6."""
SETTINGS = ("trainer.accelerator=cpu", "dataset=wine", "budget.epochs=3", "optimizer=momentum", "~optimizer.momentum")


@dataclass(frozen=True)
class Case:
    """An optimizer with its settings and its expected outcome."""

    target: Any
    arguments: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    gradients: bool = True
    """True if the optimizer needs gradients when it steps."""
    closure: bool = False
    refused: str | None = None
    """A pattern in the refusal."""
    trait: str | None = None
    """The trait on the page, if it is not the target's docstring."""

    @property
    def path(self) -> str:
        module = self.target.__module__
        return f"torch.optim.{self.target.__name__}" if "torch" in module else f"{module}.{self.target.__name__}"

    def cell(self, *more: str) -> Cell:
        arguments = (f"+optimizer.{argument}" for argument in self.arguments)
        network = () if any("model" in one for one in self.overrides) else ("model.width=8",)
        target = f"optimizer._target_={self.path}"
        return make_cell(*SETTINGS, target, "optimizer.batch_size=53", *arguments, *network, *self.overrides, *more)


def torchs(kind: type[optim.Optimizer], *arguments: str, refused: str | None = None, trait: str = "") -> Case:
    flags = ", ".join(arguments)
    named = f"`torch.optim.{kind.__name__}`" + (f", {trait or f'`{flags}`'}" if flags or trait else "")
    return Case(kind, arguments, ("optimizer.lr=0.05",), refused=refused, trait=named)


OWN_NETWORK = ("~model.depth", "~model.width")
BASE = "base_optimizer={_target_: torch.optim.SGD, _partial_: true}"
SAM = Case(people.Sam, (BASE,), closure=True)
FREE = Case(people.ScheduleFreeSgd)
DECAY = Case(people.without_decay_of_biases)
DOUBLE = ("trainer.precision=64-true",)
"""LBFGS makes much of little, also of rounding."""
COSINE, ONE_CYCLE = ("schedule=cosine", "schedule=one_cycle")

TABLE: dict[str, Case] = {
    **{
        kind.__name__: torchs(kind)
        for kind in (
            optim.SGD, optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.Adamax, optim.RMSprop, optim.Adagrad,
            optim.Adadelta, optim.Rprop, optim.ASGD, optim.Adafactor,
        )
    },
    "Muon": Case(
        optim.Muon, ("others={_target_: torch.optim.AdamW, lr: 0.01}",), trait="`torch.optim.Muon` with `others`",
    ),
    "Muon alone": torchs(optim.Muon, refused="2D", trait="without `others`"),
    "LBFGS": Case(optim.LBFGS, ("max_iter=4",), DOUBLE, False, True, trait="`torch.optim.LBFGS`"),
    "LBFGS, line search": Case(
        optim.LBFGS, ("line_search_fn=strong_wolfe", "max_iter=4"), DOUBLE, False, True,
        trait="`torch.optim.LBFGS` with its line search",
    ),
    "SparseAdam": torchs(optim.SparseAdam, refused="dense gradients"),
    "foreach": torchs(optim.Adam, "foreach=true"),
    "fused": torchs(optim.AdamW, "fused=true"),
    "capturable": torchs(optim.Adam, "capturable=true", refused="capturable"),
    "differentiable": torchs(optim.Adam, "differentiable=true", refused="leaf Variable"),
    "maximize": torchs(optim.SGD, "maximize=true"),
    "StateOnInstance": Case(people.StateOnInstance),
    "StateInGroup": Case(people.StateInGroup),
    "AssignsData": Case(people.AssignsData),
    "ChangesGradient": Case(people.ChangesGradient),
    "WithoutNoGrad": Case(people.WithoutNoGrad),
    "Lion": Case(people.Lion),
    "Lars": Case(people.Lars, overrides=("optimizer.lr=0.02",)),
    "Centralized": Case(people.Centralized),
    "GlobalNorm": Case(people.GlobalNorm),
    "Prodigy": Case(people.Prodigy, overrides=("optimizer.lr=1",)),
    "Langevin": Case(people.Langevin),
    "MatricesApart": Case(people.MatricesApart, overrides=(COSINE,)),
    "ScheduleFreeSgd": FREE,
    "ScheduleFreeAdam": Case(people.ScheduleFreeAdam),
    "Averaged": Case(people.Averaged),
    "Sam": SAM,
    "LineSearch": Case(people.LineSearch, closure=True, gradients=False),
    "lookahead": Case(people.lookahead),
    "without_decay_of_biases": DECAY,
    "by_layer": Case(people.by_layer),
    "head_alone": Case(people.head_alone),
    "groups, one cycle": Case(
        people.by_layer, overrides=(ONE_CYCLE,), trait="groups with a schedule of the rate and the momentum",
    ),
    "SAM, BatchNorm, clipped": Case(
        people.Sam, (BASE, "clip_norm=0.1"), ("model._target_=networks.Normed", *OWN_NETWORK), closure=True,
        trait="SAM on a network with BatchNorm, its gradients clipped",
    ),
    "SAM, dropout": Case(
        people.Sam, (BASE,), ("model._target_=networks.Dropped", *OWN_NETWORK), closure=True,
        trait="SAM on a network with dropout: the same masks in both passes",
    ),
    "SAM, one by one": Case(
        people.Sam, (BASE,), ("model._target_=networks.BranchingToo", *OWN_NETWORK), closure=True,
        trait="SAM on a network that cannot be batched",
    ),
    "LBFGS in parts": Case(
        optim.LBFGS, ("max_iter=4",), ("trainer.microbatch_size=20", *DOUBLE), False, True,
        trait="`torch.optim.LBFGS` on batches in parts",
    ),
    "of_module": Case(people.of_module, refused="'list' object has no attribute"),
    "a_pair": Case(people.a_pair, refused="must be a torch.optim.Optimizer"),
    "NeedsGraph": Case(people.NeedsGraph, refused="does not require grad"),
    "BackwardItself": Case(people.BackwardItself, refused="can take a step"),
    "RandomWhenMade": Case(people.RandomWhenMade, refused="must not draw random numbers when it is made"),
    "NotAnOptimizer": Case(people.NotAnOptimizer, refused="must be a torch.optim.Optimizer"),
}  # fmt: skip
QUICK = ("AssignsData", "Sam", "SparseAdam")


@pytest.mark.filterwarnings("ignore:There is a performance drop", "ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("name", [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in TABLE])
def test_an_optimizer_gets_the_numbers_of_a_plain_loop_or_is_refused(name: str) -> None:
    if name == "capturable" and torch.cuda.is_available():
        pytest.skip("a machine with a GPU takes it")
    case = TABLE[name]
    cell = case.cell()
    if case.refused is not None:
        with pytest.raises(ConfigError, match=case.refused) as refusal:
            checks.check(cell.config, cell.dataset)
        assert "\n" not in str(refusal.value)
        return
    checks.check(cell.config, cell.dataset)
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    plain = [train_plainly(case.cell(), seed, case.closure, case.gradients) for seed in range(3)]
    for result, right in zip([*together, alone], [*plain, plain[1]], strict=True):
        assert result.state is State.COMPLETE
        assert [point.val_loss for point in result.curve] == pytest.approx(right.val_losses, rel=TOLERANCE)
        assert result.metrics == pytest.approx(right.metrics, rel=5 * TOLERANCE, abs=1e-5)
        assert result.best_epoch == right.best_epoch
    assert plain[0].val_losses != plain[1].val_losses
    assert plain[0].val_losses[0] != plain[0].val_losses[-1]


def test_every_optimizer_is_in_the_table() -> None:
    """A class whose docstring is a sentence is a part of optimizers, not an optimizer."""
    written = {
        value
        for value in vars(people).values()
        if inspect.isclass(value) | inspect.isfunction(value)
        and value.__module__ == people.__name__
        and not (value.__doc__ or "").endswith(".")
    }
    assert written - {people.Lookahead} <= {case.target for case in TABLE.values()}


def page() -> str:
    """Return the page that shows the table."""
    lines = [
        "# Which optimizers work",
        "",
        TEXT,
        "",
        "| optimizer | what happens |",
        "|---|---|",
    ]
    for name in sorted(TABLE, key=lambda name: TABLE[name].refused is not None):
        case = TABLE[name]
        calls = "with a closure, " * case.closure + "equal to a plain loop"
        lines.append(f"| {case.trait or inspect.getdoc(case.target)} | {'refused' if case.refused else calls} |")
    return "\n".join([*lines, ""])


def test_the_page_shows_the_table() -> None:
    assert PAGE.read_text() == page()


if __name__ == "__main__":
    PAGE.write_text(page())
