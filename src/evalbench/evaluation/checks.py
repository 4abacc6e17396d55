"""Check a plan before it trains: its networks, the output folders, and the results that the store has."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from tempfile import TemporaryFile
from typing import Any

from evalbench import own_code, tuning
from evalbench.cell import Cell
from evalbench.config import Component
from evalbench.errors import ConfigError
from evalbench.evaluation.counts import Count, uncounted
from evalbench.evaluation.design import declared_looks
from evalbench.evaluation.plan import Plan
from evalbench.store import Store
from evalbench.tasks.imbalance import majority_share, misleads


def check_trainable(plan: Plan, store: Store, count: Count = uncounted) -> None:
    """Build every cell that has something left to train, so that a wrong setting is refused now.

    Raises `InputError`, also if the ROPE or the looks differ from those that were declared before the results.
    """
    _check_rope(plan, store)
    _check_looks(plan, store)
    _check_folders(plan)
    for tracker in plan.config.tracker.trackers.values():
        tracker.build()
    untrained = plan.untrained(store)
    for index, number in enumerate(untrained, 1):
        count(index, len(untrained))
        tuning.check(plan.jobs[number])


def changed_code(plan: Plan, store: Store) -> dict[str, int]:
    """Describe changes of own code since the results in the store, with the number of trials that each trains anew."""
    changes: Counter[str] = Counter()
    known: dict[str, list[Mapping[str, Any]]] = {}
    for cell in plan.cells:
        missing = store.missing(list(cell.trials)) if cell.code else []
        if not missing:
            continue
        if cell.workload not in known:
            known[cell.workload] = store.settings(cell.workload, cell.config.root_seed)
        now = json.loads(json.dumps({**cell.settings, "code": None}))
        before = [each.get("code") for each in known[cell.workload] if {**each, "code": None} == now]
        if before and cell.code not in before:
            trials = len(missing) + len(tuning.studies(cell)) * len(cell.specs) + tuning.num_trials([cell])
            changes.update(dict.fromkeys(own_code.changes(before[-1], cell.code), trials))
    return changes


def misleading_accuracies(plan: Plan) -> dict[str, float]:
    """Return the workloads judged by accuracy of which predicting the majority class alone has a high one: this."""
    datasets = {cell.workload: cell.dataset for cell in plan.cells if cell.dataset.kind.has_row_classes}
    shares = {name: majority_share(dataset.targets) for name, dataset in datasets.items() if len(dataset.classes)}
    return {name: share for name, share in shares.items() if misleads(datasets[name].metric, share)}


def narrow_networks(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the workloads of which the shipped convolutional network sees small parts alone, and words for that."""
    from evalbench.models.cnn import CNN, sees_little

    told = {}
    for cell in cells:
        model = cell.config.parts["model"]
        is_cnn = isinstance(model, Component) and model.target == f"{CNN.__module__}.{CNN.__qualname__}"
        if is_cnn and cell.dataset.image is not None:
            told[cell.workload] = sees_little(model.arguments["depth"], cell.dataset.image)
    return {name: words for name, words in told.items() if words}


def _check_rope(plan: Plan, store: Store) -> None:
    """Refuse a metric that needs a ROPE and has none, and another ROPE than was declared before the results."""
    metrics = {cell.dataset.metric.name: cell.dataset.metric for cell in plan.cells}
    for metric in metrics.values():
        if metric.best is None and (len(metrics) > 1 or metric.name not in plan.config.evaluation.rope):
            rule = f"must be given: {metric.name} has no best score, so there is no skill in it"
            remedy = f"add +evaluation.rope.{metric.name}=0.01, say, or say task.metric.best"
            raise ConfigError(f"evaluation.rope.{metric.name}", rule, remedy=remedy)
    if not store.has_design(plan.name) or not store.count_states(plan.name):
        return
    declared, shared = store.design(plan.name), plan.config.evaluation
    for key, asked in (("rope", dict(shared.rope)), ("generated", shared.generated)):
        if declared.get(key, asked) != asked:
            rule = f"must stay as declared before the results ({declared[key]})"
            raise ConfigError(f"evaluation.{key}", rule, asked, "give evaluation.name=OTHER for another question")


def _check_looks(plan: Plan, store: Store) -> None:
    """Refuse other looks than were declared before the results."""
    declared, asked = declared_looks(store, plan.name), list(plan.looks)
    if plan.factor is None or declared in (None, asked):
        return
    assert declared is not None
    one = len(declared) == len(asked) == 1
    key = "num_seeds" if one else "evaluation.looks"
    rule = f"must stay as declared before the results ({declared[0] if one else declared})"
    raise ConfigError(key, rule, asked[0] if one else asked, "give evaluation.name=OTHER for another evaluation")


def _check_folders(plan: Plan) -> None:
    """Check that final and intermediate output folders are writable, without making them."""
    config = plan.config
    folders = {"reports": plan.folder, "trainer.checkpoint_folder": config.checkpoint_folder}
    if config.save != "none":
        folders["weights"] = config.weights_folder
    for key, folder in folders.items():
        whole = folder.absolute()
        parent = next(path for path in (whole, *whole.parents) if path.exists())
        try:
            TemporaryFile(dir=parent).close()  # access rights alone do not tell
        except OSError as error:
            rule = "must be a folder that can be written"
            raise ConfigError(key, rule, str(folder), f"give another one than {parent}") from error
