"""Networks that people write get the numbers of a plain PyTorch loop, or one line of refusal.

docs/networks.md ends with the table below; `cd tests && python -m engine.test_peoples_networks` writes it anew.
"""

import inspect
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest
import torch
from torch import nn

import peoples_networks as people
from conftest import make_cell
from evalbench.cell import Cell
from evalbench.engine import checks, training
from evalbench.errors import ConfigError
from evalbench.trial import State
from plain import train as train_plainly

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
TOLERANCE = 1e-4
"""Relative, of losses after 6 steps in 32 bits: sums are taken in another order, about 1e-6."""
# On the CPU: many of these networks make tensors there, and would fail elsewhere under plain PyTorch too.
SETTINGS = (
    "trainer.accelerator=cpu",
    "dataset=wine",
    "budget.epochs=3",
    "optimizer=momentum",
    "optimizer.lr=0.1",
    "optimizer.batch_size=53",
)
DECAY = "+optimizer.weight_decay=0.05"
"""Tells weights without a gradient, which PyTorch leaves alone, from those whose gradient is zero."""


class Outcome(StrEnum):
    """How a network's cohort trains."""

    BATCHED = "batched"
    ONE_BY_ONE = "one by one"
    REFUSED = "refused"


@dataclass(frozen=True)
class Expected:
    """The outcome of a network and its reason on the page."""

    outcome: Outcome = Outcome.BATCHED
    why: str = ""
    says: str = ""
    """A pattern in the warning or the refusal."""
    tolerance: float = TOLERANCE
    like: type[nn.Module] | None = None
    """The network for the plain loop, if the noise of the plain loop does not reach this network."""


def one_by_one(why: str, says: str = "") -> Expected:
    return Expected(Outcome.ONE_BY_ONE, why, says)


def refused(why: str, says: str) -> Expected:
    return Expected(Outcome.REFUSED, why, says)


BATCHED = Expected()
NO_RULE = one_by_one("torch cannot batch one of its operations")
VALUES = one_by_one("the operations depend on values of tensors", "values of tensors")
SHAPES = one_by_one("shapes depend on values of tensors")
MEMORY = one_by_one("Python objects change while it trains")
DIFFERS = one_by_one("each seed's network holds something of its own that is no parameter or buffer")
AUTOGRAD = one_by_one("its own use of autograd cannot be batched")
RANDOM = one_by_one("some of its random numbers cannot be drawn for a batch of members")
PYTHON_RANDOM = one_by_one("Python or NumPy draws random numbers while it trains")
WRITES = one_by_one("its forward pass writes into weights that train", "forward pass changes")
HOOKS = one_by_one("hooks run in the backward pass")

TABLE: dict[type[nn.Module], Expected] = {
    people.Rnn: NO_RULE,
    people.Gru: NO_RULE,
    people.Lstm: NO_RULE,
    people.LstmWithDropout: NO_RULE,
    people.LstmCells: NO_RULE,
    people.OwnCells: BATCHED,
    people.Packed: SHAPES,
    people.StateSpace: BATCHED,
    people.Attention: BATCHED,
    people.AttentionDropout: BATCHED,
    people.EncoderLayer: BATCHED,
    people.PaddedEncoder: BATCHED,
    people.DecoderLayer: BATCHED,
    people.OwnAttention: BATCHED,
    people.MaskedAttention: BATCHED,
    people.GroupedAttention: BATCHED,
    people.ForgottenDropout: BATCHED,
    people.BatchNorm: BATCHED,
    people.CumulativeBatchNorm: VALUES,
    people.UntrackedBatchNorm: BATCHED,
    people.ConvBatchNorm: BATCHED,
    people.LayerNorm: BATCHED,
    people.GroupNorm: BATCHED,
    people.RmsNorm: BATCHED,
    people.LocalResponseNorm: BATCHED,
    people.InstanceNorm: BATCHED,
    people.BufferInPlace: BATCHED,
    people.BufferAssigned: BATCHED,
    people.BufferThroughData: one_by_one("`.data` cannot be batched"),
    people.BufferCopied: BATCHED,
    people.BufferSliced: BATCHED,
    people.BufferNotPersistent: BATCHED,
    people.BufferInForward: BATCHED,
    people.BufferThatGrows: refused("a buffer changes its shape", "mean"),
    people.BufferWithGradient: BATCHED,
    people.Queue: VALUES,
    people.Codebook: one_by_one("`.data` cannot be batched"),
    people.WeightNorm: BATCHED,
    people.SpectralNorm: NO_RULE,
    people.Orthogonal: BATCHED,
    people.OwnParametrization: BATCHED,
    people.OldWeightNorm: BATCHED,
    people.OldSpectralNorm: NO_RULE,
    people.Pruned: BATCHED,
    people.Hypernetwork: BATCHED,
    people.ComplexWeights: BATCHED,
    people.ComplexView: BATCHED,
    people.LinearAlgebra: BATCHED,
    people.ForwardHook: BATCHED,
    people.ForwardPreHook: BATCHED,
    people.FeatureHook: BATCHED,
    people.BackwardHook: HOOKS,
    people.BackwardPreHook: HOOKS,
    people.ParameterHook: HOOKS,
    people.MaskingHook: HOOKS,
    people.AccumulatedHook: HOOKS,
    people.TensorHook: BATCHED,
    people.AuxiliaryLoss: BATCHED,
    people.HookOfTensor: DIFFERS,
    people.Checkpointed: BATCHED,
    people.CheckpointedReentrant: BATCHED,
    people.CheckpointedDropout: Expected(like=people.Unchecked),
    people.InPlace: BATCHED,
    people.InPlaceMasked: SHAPES,
    people.InPlaceInputs: AUTOGRAD,
    people.ClippedWeights: one_by_one("`.data` cannot be batched"),
    people.NormalizedWeights: WRITES,
    people.MaxNormEmbedding: WRITES,
    people.Counter: MEMORY,
    people.CounterInChild: MEMORY,
    people.IdleCounter: MEMORY,
    people.PythonRandom: PYTHON_RANDOM,
    people.NumpyRandom: PYTHON_RANDOM,
    people.TorchCoin: VALUES,
    people.OwnPythonGenerator: MEMORY,
    people.OwnTorchGenerator: MEMORY,
    people.History: MEMORY,
    people.LastHidden: MEMORY,
    people.Cache: BATCHED,
    people.CachedFunction: BATCHED,
    people.CachedWeights: BATCHED,
    people.StaleCache: MEMORY,
    people.KeepsActivations: BATCHED,
    people.NumpyInside: one_by_one("it leaves torch on the way"),
    people.Projection: BATCHED,
    people.Constant: BATCHED,
    people.ListOfTensors: DIFFERS,
    people.NestedTensors: DIFFERS,
    people.Closure: DIFFERS,
    people.Partial: DIFFERS,
    people.Global: BATCHED,
    people.NumpyAttribute: DIFFERS,
    people.NumberAttribute: DIFFERS,
    people.PermutationAttribute: DIFFERS,
    people.RandomWiring: DIFFERS,
    people.RandomDepth: refused("seeds differ in the shapes of their weights", "layers"),
    people.NumpyInit: BATCHED,
    people.HiddenModules: DIFFERS,
    people.HiddenTeacher: MEMORY,
    people.BackReference: BATCHED,
    people.Lock: BATCHED,
    people.LinearProbe: BATCHED,
    people.PretrainedBody: BATCHED,
    people.FrozenEmbedding: BATCHED,
    people.Lora: BATCHED,
    people.MergedLora: MEMORY,
    people.OnlyBiases: BATCHED,
    people.IntegerParameter: BATCHED,
    people.FrozenInForward: AUTOGRAD,
    people.Unfreezing: MEMORY,
    people.Tied: BATCHED,
    people.TiedModule: BATCHED,
    people.SharedStorage: refused("two parameters share memory", "over one memory"),
    people.ParameterLists: BATCHED,
    people.TransposedParameters: BATCHED,
    people.Unused: BATCHED,
    people.ValidationOnly: BATCHED,
    people.UsedAtTimes: VALUES,
    people.ShapeBranch: BATCHED,
    people.ValueBranch: VALUES,
    people.Item: VALUES,
    people.Assertion: VALUES,
    people.EarlyExit: VALUES,
    people.Equilibrium: VALUES,
    people.MaskedRows: SHAPES,
    people.SparseExperts: SHAPES,
    people.DenseExperts: BATCHED,
    people.AsksForGradient: BATCHED,
    people.Dropout: BATCHED,
    people.DropoutInPlace: one_by_one("a value that it overwrites in place is used again"),
    people.ChannelDropout: BATCHED,
    people.AlphaDropout: BATCHED,
    people.FeatureAlphaDropout: BATCHED,
    people.FunctionalDropout: BATCHED,
    people.MonteCarloDropout: BATCHED,
    people.RandomTensors: BATCHED,
    people.RandomInPlace: BATCHED,
    people.RandomChoices: RANDOM,
    people.Mixup: RANDOM,
    people.Distribution: VALUES,
    people.Reparametrised: BATCHED,
    people.Gumbel: BATCHED,
    people.StochasticDepth: BATCHED,
    people.DropPath: BATCHED,
    people.RandomRelu: BATCHED,
    people.NoisyLinear: BATCHED,
    people.GradientReversal: AUTOGRAD,
    people.NewFunction: BATCHED,
    people.NewFunctionWithoutRule: AUTOGRAD,
    people.StraightThrough: BATCHED,
    people.NoGradPart: BATCHED,
    people.InferencePart: AUTOGRAD,
    people.Energy: AUTOGRAD,
    people.InnerLoop: AUTOGRAD,
    people.FunctionalJacobian: BATCHED,
    people.OdeSolver: BATCHED,
    people.Scripted: BATCHED,
    people.ScriptedFunction: BATCHED,
    people.Compiled: BATCHED,
    people.CustomOperator: AUTOGRAD,
    people.Lazy: refused("it has no weights before its first pass", "[Ll]azy"),
    people.DataParallel: NO_RULE,
    people.AveragedModel: BATCHED,
    people.LightningForward: BATCHED,
    people.LightningStep: refused("its own training would not be used", "training_step"),
    people.StaysInEval: BATCHED,
    people.EvalUndone: BATCHED,
    people.EvalInForward: BATCHED,
    people.Autocast: Expected(tolerance=1e-2),
    people.DoubleOutputs: BATCHED,
    people.DoubleParameters: BATCHED,
    people.BagOfWords: BATCHED,
    people.Graph: BATCHED,
    people.SparseMatrix: NO_RULE,
    people.Spline: BATCHED,
    people.Warp: BATCHED,
    people.OtherLayers: BATCHED,
    people.TupleOutputs: refused("a loss needs one tensor", "tuple"),
    people.DictOutputs: refused("a loss needs one tensor", "dict"),
    people.TupleOfTraining: refused("a loss needs one tensor", "tuple"),
    people.ShapeOfTraining: refused("a loss needs one output per class", "outputs"),
}
QUICK = (people.BufferAssigned, people.Counter)


def cell_of(network: type[nn.Module]) -> Cell:
    model = (f"model._target_=peoples_networks.{network.__name__}", "~model.depth", "~model.width")
    return make_cell(*SETTINGS, DECAY, *model)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # `vmap`, of operations that it loops over
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad", "ignore:The .grad attribute")
@pytest.mark.filterwarnings("ignore:Using `torch.compile")  # of the hooks of the counter of FLOPs
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # torch 2.11
@pytest.mark.parametrize(
    "network",
    [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow, id=one.__name__) for one in TABLE],
)
def test_a_network_gets_the_numbers_of_a_plain_loop_or_is_refused(
    network: type[nn.Module], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if network is people.DataParallel and torch.cuda.is_available():
        pytest.skip("it demands the GPU, and the test asks for the CPU")
    for name in ("_checked", "_warned"):  # filled by other tests
        monkeypatch.setattr(checks, name, set())
    expected, cell = TABLE[network], cell_of(network)
    if expected.outcome is Outcome.REFUSED:
        with pytest.raises(ConfigError, match=expected.says) as refusal:
            checks.check(cell.config, cell.dataset)
        assert "\n" not in str(refusal.value)
        return
    checks.check(cell.config, cell.dataset)
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    plain = [train_plainly(cell_of(expected.like or network), seed) for seed in range(3)]
    for result, right in zip([*together, alone], [*plain, plain[1]], strict=True):
        assert result.state is State.COMPLETE
        assert [point.val_loss for point in result.curve] == pytest.approx(right.val_losses, rel=expected.tolerance)
        assert result.metrics == pytest.approx(right.metrics, rel=5 * expected.tolerance, abs=1e-5)
        assert result.best_epoch == right.best_epoch
    assert plain[0].val_losses != plain[1].val_losses
    warned = [record.message for record in caplog.records if "member by member" in record.message]
    assert bool(warned) is (expected.outcome is Outcome.ONE_BY_ONE), warned
    assert all(re.search(rf": .*({expected.says})", message) for message in warned)


def test_the_table_has_every_network() -> None:
    """A class whose docstring is a sentence is a part of networks, not a network."""
    written = {
        value
        for value in vars(people).values()
        if inspect.isclass(value)
        and issubclass(value, nn.Module)
        and value.__module__ == people.__name__
        and not (value.__doc__ or "").endswith(".")
    }
    assert set(TABLE) == written


HEADING = "## Networks that people write\n\n"


def section() -> str:
    """Return the last section of the page, which shows the table."""
    counts = {outcome: sum(one.outcome is outcome for one in TABLE.values()) for outcome in Outcome}
    meaning = {
        Outcome.BATCHED: "all seeds train as one model.",
        Outcome.ONE_BY_ONE: "members train one after another, and a warning gives the reason; slower, same numbers.",
        Outcome.REFUSED: "one line and exit code 2, before anything trains.",
    }
    lines = [
        f"A network is any `nn.Module`. Each of these {len(TABLE)} networks has a trait that a batched step may get",
        "wrong (`tests/peoples_networks.py`). A test trains it with three seeds together, with one seed alone, and in",
        "a plain PyTorch loop. Losses and metrics are equal, or evalbench refuses the network.",
        "",
        *(f"- **{outcome}** ({counts[outcome]}): {meaning[outcome]}" for outcome in Outcome),
        "",
        "| trait | what happens | why |",
        "|---|---|---|",
    ]
    for outcome in Outcome:
        rows = [(inspect.getdoc(network), one.why) for network, one in TABLE.items() if one.outcome is outcome]
        lines += [f"| {trait} | {outcome} | {why or '—'} |" for trait, why in rows]  # a docstring is the trait
    return "\n".join([*lines, ""])


def test_the_page_shows_the_table() -> None:
    assert PAGE.read_text().partition(HEADING)[2] == section()


if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text().partition(HEADING)[0] + HEADING + section())
