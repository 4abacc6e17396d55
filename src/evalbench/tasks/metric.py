"""The registry of metrics: name, direction, unit, best possible score, words, and computation of each.

Metrics of other programs and of the user's own are described by `describe`. Only computing a metric needs torch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Direction = Literal["minimize", "maximize"]
Array = NDArray[Any]
Compute: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""Scores `(...)` of predictions in float64 and of targets, on their device; NaN if undefined.

Classes: probabilities `(..., N, K)` and class indices `(..., N)`. Numbers: `(..., N)` both, in the target's unit.
"""
FRACTION = "fraction"
"""The unit of scores between 0 and 1, which reports print in percent."""
SKILL, SKILL_SPAN = "skill", 1.0
"""The unit in which different metrics are averaged: 0 is the trivial predictor, 1 the best possible score."""
WIDEST = 0.1
"""The largest ROPE, as a share of the metric's span, that needs no confirmation."""
CLASSES = ("binary", "multiclass")
"""The tasks with a class per row."""


@dataclass(frozen=True)
class Metric:
    """A named measured quantity, whose direction and unit are declared, never guessed."""

    name: str
    """Without the split: `accuracy`, not `test/accuracy`."""
    direction: Direction
    unit: str = ""
    best: float | None = None
    """The score that cannot be beaten; None: unknown, so there is no skill."""
    words: str = ""
    """The name for people."""
    decimals: int | None = None
    """Decimals of a printed score; None: as many as its size asks for."""
    span: float | None = None
    """From the worst possible score, or else that of the trivial predictor, to the best; None: not known."""
    as_skill: bool = True
    """Average over data sets as skill; False: as it is."""
    on_curve: bool = False
    """The `val_score` of a learning curve may be this metric, larger being better."""
    floor: Callable[[float, int], float] | None = None
    """The standard error of a score from its number of test rows alone; None: no formula is known."""
    on_request: tuple[str, ...] = ()
    """The tasks that measure it if the user asks, beside those that list it among their `metrics`."""
    compute: Compute | None = None
    """None: evalbench reads this metric, and computes it nowhere."""

    @property
    def sign(self) -> int:
        """Return 1 if larger is better, else -1."""
        return 1 if self.direction == "maximize" else -1

    def on(self, split: str) -> str:
        """Return the name of the metric on a split, such as `test/accuracy`."""
        return f"{split}/{self.name}"


def base_name(name: str) -> str:
    """Return a metric's name without the split: `accuracy` for `test/accuracy`."""
    return name.rsplit("/", 1)[-1]


def in_words(name: str) -> str:
    """Return words for a metric that nobody described: `top 5` for `top_5`."""
    return name.replace("_", " ")


def find(name: str) -> Metric | None:
    """Return the registered metric of a name with or without its split; None if there is none."""
    return METRICS.get(base_name(name))


def describe(name: str, direction: Direction = "maximize", unit: str = "") -> Metric:
    """Return the registered metric of a name with or without its split, else one with these properties alone."""
    return find(name) or Metric(base_name(name), direction, unit, words=in_words(base_name(name)))


def is_wide(rope: float, span: float | None) -> bool:
    """Return whether a ROPE takes so much of the possible scores that it must be confirmed."""
    return span is not None and rope > WIDEST * span * (1 + 1e-9)


def accuracy_floor(accuracy: float, num_test: int) -> float:
    """Return the standard error of an accuracy from its m test rows: `sqrt(p (1 - p) / m)`."""
    return math.sqrt(max(0.0, accuracy * (1 - accuracy)) / num_test)


def r2_floor(r2: float, num_test: int) -> float:
    """Return the standard error of R² from its m test rows: `sqrt(4 R² (1 - R²)² / m)`, R² below 0 taken as 0.

    Source: Olkin and Finn, Psychological Bulletin 118 (1995).
    """
    share = min(max(r2, 0.0), 1.0)
    return math.sqrt(4 * share * (1 - share) ** 2 / num_test)


def _accuracy(probabilities: Tensor, truth: Tensor) -> Tensor:
    return (probabilities.argmax(-1) == truth).double().mean(-1)


def _log_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean of minus the logarithm of the probability of the truth, which is never infinite."""
    right = probabilities.gather(-1, truth[..., None])[..., 0].double()
    return -right.clamp(min=sys.float_info.epsilon).log().mean(-1)


def _perplexity(probabilities: Tensor, truth: Tensor) -> Tensor:
    return _log_loss(probabilities, truth).exp()


def _counts(probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `(..., K)` each: rows of every class, rows predicted to be of it, and rows of which both are true."""
    there, chosen = (_is_of(classes, probabilities.shape[-1]) for classes in (truth, probabilities.argmax(-1)))
    return there.sum(-1).double(), chosen.sum(-1).double(), (there & chosen).sum(-1).double()


def _is_of(classes: Tensor, num_classes: int) -> Tensor:
    """Return `(..., K, N)`: whether each row is of each class."""
    import torch

    return classes[..., None, :] == torch.arange(num_classes, device=classes.device)[:, None]


def _macro_f1(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN), 0 for a class that is neither there nor predicted."""
    there, chosen, hits = _counts(probabilities, truth)
    return (2 * hits / (there + chosen).clamp(min=1)).mean(-1)


def _balanced_accuracy(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean recall of the classes that are there."""
    there, _, hits = _counts(probabilities, truth)
    return (hits / there.clamp(min=1)).sum(-1) / (there > 0).sum(-1)


def _auroc(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return P(a row of a class scores above a row of another), ties half, averaged over classes.

    One against the rest; NaN if a class has no row. By ranks: Mann and Whitney 1947.
    """
    import torch

    first = 1 if probabilities.shape[-1] == 2 else 0  # the areas of two classes are equal
    scores, member = (
        probabilities.mT[..., first:, :].contiguous(),
        _is_of(truth, probabilities.shape[-1])[..., first:, :],
    )
    ordered = scores.sort(-1).values
    below, up_to = torch.searchsorted(ordered, scores), torch.searchsorted(ordered, scores, right=True)
    inside = member.sum(-1)
    pairs = inside * (truth.shape[-1] - inside)
    ranks = torch.where(member, below + up_to + 1, 0).sum(-1)  # twice the rank, that of the middle among equals
    areas = torch.where(pairs > 0, (ranks - inside * (inside + 1)).double() / (2 * pairs), math.nan)
    return areas.mean(-1)


def _average_precision(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over a class's rows of the precision at their own scores, averaged over classes.

    One against the rest; NaN if a class has no row. It is the area under the steps of the precision-recall curve.
    """
    import torch

    member = _is_of(truth, probabilities.shape[-1])
    scores = probabilities.mT.contiguous()
    inside = torch.where(member, scores, -math.inf)
    above, hits = (
        values.shape[-1] - torch.searchsorted(values.sort(-1).values, scores).double() for values in (scores, inside)
    )
    precision = torch.where(member, hits / above, 0).sum(-1)
    return (precision / member.sum(-1)).mean(-1)


def _r2(predictions: Tensor, targets: Tensor) -> Tensor:
    spread = targets.double() - targets.double().mean(-1, keepdim=True)
    return 1 - (predictions - targets).square().sum(-1) / spread.square().sum(-1)


def _rmse(predictions: Tensor, targets: Tensor) -> Tensor:
    return (predictions - targets).square().mean(-1).sqrt()


def _mae(predictions: Tensor, targets: Tensor) -> Tensor:
    return (predictions - targets).abs().mean(-1)


def _share(name: str, words: str, compute: Compute, **more: Any) -> Metric:
    return Metric(name, "maximize", FRACTION, 1.0, words, 3, span=1.0, on_curve=True, compute=compute, **more)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _share("accuracy", "accuracy", _accuracy, as_skill=False, floor=accuracy_floor),
        _share("macro_f1", "macro F1", _macro_f1),
        Metric("log_loss", "minimize", "nats", 0.0, "log loss", compute=_log_loss),
        Metric("perplexity", "minimize", "", 1.0, "perplexity", compute=_perplexity),
        _share("auroc", "AUROC", _auroc),
        Metric("r2", "maximize", "R²", 1.0, "R²", 3, span=1.0, on_curve=True, floor=r2_floor, compute=_r2),
        Metric("rmse", "minimize", "", 0.0, "RMSE", compute=_rmse),
        Metric("mae", "minimize", "", 0.0, "MAE", compute=_mae),
        _share("balanced_accuracy", "balanced accuracy", _balanced_accuracy, on_request=CLASSES),
        _share("average_precision", "average precision", _average_precision, on_request=CLASSES),
    )
}
"""By name. A new metric is one line here. A task measures it if the task lists it, or if the user asks for it."""

FROM_PROBABILITIES = frozenset({"log_loss", "perplexity", "auroc", "average_precision"})
"""Metrics that class predictions without probabilities say nothing of."""

ALIASES: Mapping[str, str] = {
    **dict.fromkeys(("acc", "top1", "top_1", "acc_norm", "exact_match"), "accuracy"),
    **dict.fromkeys(("auc", "roc_auc", "roc_auc_score"), "auroc"),
    **dict.fromkeys(("logloss", "log-loss", "nll", "cross_entropy"), "log_loss"),
    **dict.fromkeys(("bal_acc", "balanced_acc", "balacc", "macro_recall", "recall_macro"), "balanced_accuracy"),
    **dict.fromkeys(("pr_auc", "auprc", "aucpr", "average_precision_score"), "average_precision"),
    **dict.fromkeys(("f1_macro", "macro-f1"), "macro_f1"),
    **dict.fromkeys(("root_mean_squared_error", "root_mean_square_error"), "rmse"),
    **dict.fromkeys(("mean_absolute_error",), "mae"),
    **dict.fromkeys(("r2_score",), "r2"),
    **dict.fromkeys(("ppl",), "perplexity"),
}
"""Names that other programs give to registered metrics; only names of foreign tables are looked up here."""
LOWER = frozenset(
    (
        *("bpb", "bpc", "cer", "cost", "duration", "err", "error", "errors", "flops", "latency", "loss", "mae", "mape"),
        *("memory", "mse", "nll", "objective", "perplexity", "ppl", "regret", "rmse", "runtime", "seconds", "time"),
        "wer",
    )
)
HIGHER = frozenset(
    (
        *("acc", "accuracy", "auc", "auroc", "bleu", "correlation", "f1", "iou", "map", "pass", "precision", "psnr"),
        *("r2", "recall", "return", "reward", "rouge", "score", "skill", "speed", "speedup", "ssim", "success", "win"),
        "throughput",
    )
)
"""Words in names of metrics that tell which direction is better, for metrics that nobody registered."""


def canonical(name: str) -> str:
    """Return a metric's name as it is registered: `test/accuracy` for `test/acc`; other names stay as they are."""
    split, slash, base = name.rpartition("/")
    return f"{split}{slash}{ALIASES.get(base.lower(), base if base.lower() not in METRICS else base.lower())}"


def guessed_direction(name: str) -> Direction | None:
    """Return the direction that a metric's name tells: the registered one, else by its words; None if none does.

    A name that begins with `neg` is a loss with its sign turned.
    """
    known = find(canonical(name))
    words = base_name(name).lower().replace("-", "_").replace(" ", "_").split("_")
    if known is not None:
        return known.direction
    if words[0] in ("neg", "negative"):
        return "maximize"
    return "minimize" if LOWER & set(words) else "maximize" if HIGHER & set(words) else None
