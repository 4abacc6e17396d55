"""The design of an evaluation as the store keeps it: links to trials, settings, and the description for trackers."""

import json
import math
from collections.abc import Mapping
from typing import Any

from evalbench import provenance, tuning
from evalbench.config import COHORT, PARTS
from evalbench.evaluation.plan import Plan
from evalbench.seeds import study_of
from evalbench.store import Store

UNTOLD = ("store", "reports", "cost", "save", "weights", "tracker", "sweep")
"""Parts of the configuration that trackers do not get."""


def link(plan: Plan, store: Store, command: str) -> None:
    """Link the evaluation to its trials in the store, and write its design and the command that asked for it.

    What was known of the trials before the first run is kept: the evaluations that had judged them.
    """
    known = store.design(plan.name) if store.has_design(plan.name) else {}
    before = known.get("judged_before") if known else _judged_before(plan, store)
    design = {**_design(plan, command), "judged_before": before}
    if known.get("pilot_seeds", math.inf) < plan.looks[-1]:
        design["pilot_seeds"] = known["pilot_seeds"]  # version 0.1.0 let seeds be added after a look
    store.link(plan.name, design, plan.links())
    store.describe(plan.name, _description(plan, command))


def declared_looks(store: Store, evaluation: str) -> list[int] | None:
    """Return the looks of an evaluation that compares techniques and has results; None for any other."""
    if not store.has_design(evaluation) or not store.count_states(evaluation):
        return None
    design, about = store.design(evaluation), store.description(evaluation)
    if design["factor"] is None:
        return None
    if "looks" not in design and about is not None:  # version 0.1.0 had one look
        return [1 + max(study_of(seed)[1] for cell in about["cells"] for seed in cell["seeds"])]
    return design.get("looks")


def comparison(plan: Plan) -> dict[str, Any]:
    """Return what is declared before the results: the compared techniques, the ROPE and the looks."""
    return {
        "factor": plan.factor,
        "baseline": plan.baseline,
        "techniques": list(plan.techniques),
        "factors": {key: list(levels) for key, levels in plan.factors.items()},
        "rope": dict(plan.config.evaluation.rope),
        "generated": plan.config.evaluation.generated,
        "looks": list(plan.looks),
    }


def _judged_before(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Return the comparisons that have trials of this one in the store, with their looks and these trials' seeds."""
    if plan.factor is None:
        return []
    whole = plan.with_seeds(dict.fromkeys(plan.techniques, plan.looks[-1]))
    trials = {link.trial_id: link.technique for link in whole.links()}
    seeds = {spec.trial_id: spec.seed for cell in whole.cells for spec in cell.specs.values()}
    done = trials.keys() - set(store.missing(list(trials)))
    before = []
    for name in store.described():
        looks = None if name == plan.name else declared_looks(store, name)
        ended = [link.trial_id for link in store.links(name, list(done))] if looks else []
        if ended:
            before.append(
                {
                    "evaluation": name,
                    "looks": looks,
                    "trials": len(ended),
                    "techniques": sorted({trials[trial_id] for trial_id in ended}, key=plan.techniques.index),
                    "seeds": sorted({seeds[trial_id] for trial_id in ended}),
                }
            )
    return before


def _all_settings(plan: Plan, compared: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the settings of the options by config group, of the compared group and of those that a report lists."""
    groups = [part.group for part in PARTS if part.described or part.group == compared]
    settings = {group: _settings(plan, group) for group in groups}
    return {group: options for group, options in settings.items() if options or group == compared}


def _settings(plan: Plan, group: str) -> dict[str, dict[str, Any]]:
    """Return the settings of each option of a config group; a setting that varies within an option lists its values."""
    options: dict[str, list[Mapping[str, Any]]] = {}
    for cell in plan.cells:
        chosen = cell.config.parts[group]
        if chosen or group in cell.config.used_choices:
            options.setdefault(cell.config.choices.get(group, group), []).append(chosen.spec() if chosen else {})
    merged: dict[str, dict[str, Any]] = {}
    for option, specs in options.items():
        for key in dict.fromkeys(key for spec in specs for key in spec):
            values = list(dict.fromkeys(json.dumps(spec.get(key)) for spec in specs))
            merged_value = json.loads(values[0]) if len(values) == 1 else f"{', '.join(values)} (varied)"
            merged.setdefault(option, {})[key] = merged_value
    return merged


def _description(plan: Plan, command: str) -> dict[str, Any]:
    """Return the description that trackers get beside links and trials, without paths but that of the report."""
    config = plan.config
    return {
        "command": command,
        "question": plan.question,
        "factor": plan.factor,
        "baseline": plan.baseline,
        "folder": str(plan.folder),
        "live": config.tracker.live,
        "trackers": {name: tracker.spec() for name, tracker in config.tracker.trackers.items()},
        "cells": [
            {
                "cell_id": cell.id,
                "trials": list(cell.specs),
                "seeds": [spec.seed for spec in cell.specs.values()],
                "workload": cell.workload,
                "data": cell.dataset.description,
                "choices": {key: value for key, value in cell.config.used_choices.items() if key not in UNTOLD},
                "settings": cell.settings,
                "tree": {key: value for key, value in cell.config.tree.items() if key not in UNTOLD},
                "metric": cell.dataset.metric.on("test"),
                "maximize": cell.dataset.metric.direction == "maximize",
                "studies": [
                    {
                        "id": study.id,
                        "name": study.name,
                        "number": study.number,
                        "objectives": list(study.objectives),
                        "runs_up_to": study.search.runs_up_to,
                    }
                    for study in tuning.studies(cell)
                ],
            }
            for cell in plan.cells
        ],
    }


def _design(plan: Plan, command: str) -> dict[str, Any]:
    config, compared = plan.config, str(plan.factor).partition(".")[0]
    trained = next((cell.config.training for cell in plan.cells if cell.config.training), {})
    others = {plan.technique(cell): cell.config.engine for cell in plan.cells if cell.config.engine != COHORT}
    return {
        "name": plan.name,
        "question": plan.question,
        **comparison(plan),
        **({"engines": others} if others else {}),
        "settings": _all_settings(plan, compared),
        "budget": {key: value for key, value in trained.get("budget", {}).items() if key != "validations"},
        "splits": config.split.declared,
        **{key: value for key, value in trained.items() if key in config.numbers},
        "root_seed": config.root_seed,
        "confidence": 0.95,
        "command": command,
        "versions": provenance.versions(),
    }
