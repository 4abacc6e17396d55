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

from evalbench.tasks.ndcg import ndcg

if TYPE_CHECKING:
    from torch import Tensor

Direction = Literal["minimize", "maximize"]
Array = NDArray[Any]
Compute: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""Scores `(...)` of predictions in float64 and of targets, on their device; NaN if undefined.

Classes: probabilities `(..., N, K)` and class indices `(..., N)`. Labels: probabilities and 0 or 1, both `(..., N, L)`.
Numbers: `(..., N)` both, in the target's unit. Metrics of classes are scores of each class against the others, so most
are metrics of labels too.
"""
FRACTION = "fraction"
"""The unit of scores between 0 and 1, which reports print in percent."""
SKILL, SKILL_SPAN = "skill", 1.0
"""The unit in which different metrics are averaged: 0 is the trivial predictor, 1 the best possible score."""
WIDEST = 0.1
"""The largest ROPE, as a share of the metric's span, that needs no confirmation."""
CLASSES = ("binary", "multiclass")
"""The tasks with a class per row."""
TOKENS = "token_classification"
"""The task with a class per token."""
GENERATION = "generation"
"""The task with a text as the answer."""
NEXT_TOKEN = "next_token"
"""The task with windows of texts, whose tokens are foretold."""


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
    """None: evalbench reads this metric and computes it nowhere, or the task of a data set knows how."""

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
    if _are_labels(probabilities, truth):
        import torch

        right = torch.where(truth > 0, probabilities, 1 - probabilities).double().flatten(-2)
    else:
        right = probabilities.gather(-1, truth[..., None])[..., 0].double()
    return -right.clamp(min=sys.float_info.epsilon).log().mean(-1)


def _perplexity(probabilities: Tensor, truth: Tensor) -> Tensor:
    return _log_loss(probabilities, truth).exp()


def _are_labels(probabilities: Tensor, truth: Tensor) -> bool:
    return truth.ndim == probabilities.ndim


def _counts(probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `(..., K)` each: rows of every class, rows predicted to be of it, and rows of which both are true.

    A label is predicted if its probability is above one half.
    """
    is_labelled = _are_labels(probabilities, truth)
    there = _is_of(truth, probabilities)
    chosen = probabilities.mT > 0.5 if is_labelled else _is_of(probabilities.argmax(-1), probabilities)
    return there.sum(-1).double(), chosen.sum(-1).double(), (there & chosen).sum(-1).double()


def _is_of(truth: Tensor, probabilities: Tensor) -> Tensor:
    """Return `(..., K, N)`: whether each row is of each class, or has each label."""
    import torch

    if _are_labels(probabilities, truth):
        return truth.mT > 0
    return truth[..., None, :] == torch.arange(probabilities.shape[-1], device=truth.device)[:, None]


def _one_against_rest(probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores `(..., K, N)` of each class and whether a row is of it; of two classes the second alone."""
    scores, member = probabilities.mT, _is_of(truth, probabilities)
    first = 1 if scores.shape[-2] == 2 and not _are_labels(probabilities, truth) else 0
    return scores[..., first:, :].contiguous(), member[..., first:, :].contiguous()


def _mean_of_known(values: Tensor, probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over classes, NaN if it is undefined for one; labels for which it is undefined are left out."""
    return values.nanmean(-1) if _are_labels(probabilities, truth) else values.mean(-1)


def _macro_f1(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN), 0 for a class that is neither there nor predicted."""
    there, chosen, hits = _counts(probabilities, truth)
    return (2 * hits / (there + chosen).clamp(min=1)).mean(-1)


def _micro_f1(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return 2 TP / (2 TP + FP + FN) of all labels together."""
    there, chosen, hits = _counts(probabilities, truth)
    return 2 * hits.sum(-1) / (there + chosen).sum(-1).clamp(min=1)


def _hamming_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the share of labels that are wrong."""
    return ((probabilities > 0.5) != (truth > 0)).double().mean((-2, -1))


def _subset_accuracy(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the share of rows whose labels are all right."""
    return ((probabilities > 0.5) == (truth > 0)).all(-1).double().mean(-1)


def _average_precision(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean, over the rows of a class, of the precision among the rows that score at least as high.

    Averaged over classes, one against the rest. Undefined for a class without a row.
    """
    import torch

    scores, member = _one_against_rest(probabilities, truth)
    rows = scores.shape[-1]
    at_least = rows - torch.searchsorted(scores.sort(-1).values, scores)
    of_class = torch.where(member, scores, -math.inf).sort(-1).values
    hits = rows - torch.searchsorted(of_class, scores)
    inside = member.sum(-1)
    precision = torch.where(member, hits.double() / at_least, 0.0).sum(-1)
    return _mean_of_known(torch.where(inside > 0, precision / inside, math.nan), probabilities, truth)


def _balanced_accuracy(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean recall of the classes that are there."""
    there, _, hits = _counts(probabilities, truth)
    return (hits / there.clamp(min=1)).sum(-1) / (there > 0).sum(-1)


def _auroc(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return P(a row of a class scores above a row of another), ties half, averaged over classes.

    One against the rest; the areas of two classes are equal. Undefined for a class without a row, or with all. By
    ranks: Mann and Whitney 1947.
    """
    import torch

    scores, member = _one_against_rest(probabilities, truth)
    ordered = scores.sort(-1).values
    below, up_to = torch.searchsorted(ordered, scores), torch.searchsorted(ordered, scores, right=True)
    inside = member.sum(-1)
    pairs = inside * (scores.shape[-1] - inside)
    ranks = torch.where(member, below + up_to + 1, 0).sum(-1)  # twice the rank, that of the middle among equals
    areas = torch.where(pairs > 0, (ranks - inside * (inside + 1)).double() / (2 * pairs), math.nan)
    return _mean_of_known(areas, probabilities, truth)


def _median_class(probabilities: Tensor) -> Tensor:
    """Return the class `(..., N)` up to which the probabilities reach one half."""
    return (probabilities.cumsum(-1) < 0.5 - 1e-12).sum(-1).clamp(max=probabilities.shape[-1] - 1)


def _quadratic_kappa(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return 1 - squared distance of truth and median class / that of independent ones (Cohen 1968)."""
    rows, chosen = truth.shape[-1], _median_class(probabilities).double()
    there = truth.double()
    distance = rows * (there - chosen).square().sum(-1)
    by_chance = rows * (there.square() + chosen.square()).sum(-1) - 2 * there.sum(-1) * chosen.sum(-1)
    return 1 - distance / by_chance


def _rank_mae(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean distance of truth and median class in classes."""
    return (_median_class(probabilities) - truth).abs().double().mean(-1)


def _r2(predictions: Tensor, targets: Tensor) -> Tensor:
    spread = targets.double() - targets.double().mean(-1, keepdim=True)
    return 1 - (predictions - targets).square().sum(-1) / spread.square().sum(-1)


def _rmse(predictions: Tensor, targets: Tensor) -> Tensor:
    return (predictions - targets).square().mean(-1).sqrt()


def _mae(predictions: Tensor, targets: Tensor) -> Tensor:
    return (predictions - targets).abs().mean(-1)


def _poisson_deviance(rates: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of 2 (y log(y / μ) - y + μ); a rate of 0 counts as a tiny one, so it is never infinite."""
    import torch

    rates, counts = rates.double().clamp(min=sys.float_info.epsilon), counts.double()
    return 2 * (torch.xlogy(counts, counts / rates) - counts + rates).mean(-1)


def _poisson_d2(rates: Tensor, counts: Tensor) -> Tensor:
    """Return 1 - deviance / deviance of the mean of the counts; NaN if all are equal."""
    import torch

    counts = counts.double()
    least = _poisson_deviance(counts.mean(-1, keepdim=True).expand_as(counts), counts)
    differ = counts.amax(-1) > counts.amin(-1)
    return torch.where(differ, 1 - _poisson_deviance(rates, counts) / least, math.nan)


def _gain(name: str, words: str, compute: Compute | None, unit: str = FRACTION, **more: Any) -> Metric:
    return Metric(name, "maximize", unit, 1.0, words, 3, span=1.0, on_curve=True, compute=compute, **more)


def _loss(name: str, words: str, compute: Compute, unit: str = "", best: float = 0.0, **more: Any) -> Metric:
    return Metric(name, "minimize", unit, best, words, compute=compute, **more)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _gain("accuracy", "accuracy", _accuracy, as_skill=False, floor=accuracy_floor),
        _gain("macro_f1", "macro F1", _macro_f1),
        _loss("log_loss", "log loss", _log_loss, "nats"),
        _loss("perplexity", "perplexity", _perplexity, best=1.0),
        _gain("auroc", "AUROC", _auroc),
        _gain("r2", "R²", _r2, "R²", floor=r2_floor),
        _loss("rmse", "RMSE", _rmse),
        _loss("mae", "MAE", _mae),
        _gain("balanced_accuracy", "balanced accuracy", _balanced_accuracy, on_request=(*CLASSES, TOKENS)),
        _gain("average_precision", "average precision", _average_precision, on_request=CLASSES),
        _gain("micro_f1", "micro F1", _micro_f1),
        _gain("subset_accuracy", "subset accuracy", _subset_accuracy),
        _loss("hamming_loss", "Hamming loss", _hamming_loss, FRACTION, decimals=3, span=1.0),
        _gain("quadratic_kappa", "quadratic weighted kappa", _quadratic_kappa, "κ"),
        _loss("rank_mae", "MAE in classes", _rank_mae, "classes"),
        _gain("poisson_d2", "Poisson deviance explained", _poisson_d2, "D²"),
        _loss("poisson_deviance", "mean Poisson deviance", _poisson_deviance),
        _gain("ndcg_10", "NDCG@10", ndcg),
        _gain("entity_f1", "entity F1", None),
        _gain("exact_match", "exact match", None, floor=accuracy_floor),
        _gain("numeric_match", "numeric match", None, floor=accuracy_floor),
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
    **dict.fromkeys(("qwk", "quadratic_weighted_kappa"), "quadratic_kappa"),
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
