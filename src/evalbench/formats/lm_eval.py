"""lm-evaluation-harness: `MODEL/samples_TASK_DATE.jsonl` (`--log_samples`), a line per item, or `results_DATE.json`.

Source: lm_eval/loggers/evaluation_tracker.py and lm_eval/evaluator_utils.py of EleutherAI/lm-evaluation-harness.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.errors import TableError
from evalbench.formats.reading import Document, Format, Imported, documents
from evalbench.tasks.metric import guessed_direction

DATE = re.compile(r"_(\d{4}-\d\d-\d\dT[\d:.\-]+)$")
PREFERRED = ("acc", "exact_match", "acc_norm")
SAMPLE = {"doc_id", "target", "filtered_resps"}
NO_METRICS = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
NO_METRICS |= {"doc_hash", "prompt_hash", "target_hash"}
MOST_NAMED = 6


@dataclass(frozen=True)
class TaskLog:
    """What one model did on one task: a value of each `METRIC/FILTER` by item; of results, under the item 0."""

    model: str
    task: str
    path: Path
    date: str
    scores: pd.DataFrame  # index: items, columns: METRIC/FILTER
    lines: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)  # by item
    num_items: float = math.nan  # of results
    higher_is_better: Mapping[str, Any] = field(default_factory=dict)  # by metric

    def texts(self, name: str) -> dict[int, str]:
        """Return one field of each item, such as `doc_hash`, of the items that have it."""
        return {item: json.dumps(line[name], sort_keys=True) for item, line in self.lines.items() if line.get(name)}


def recognizes(document: Document) -> bool:
    """Return whether a file holds samples or results."""
    return _has_samples(document) or document.columns >= {"results", "versions", "configs"}


def read(given: Sequence[Document]) -> Imported:
    """Return a row per model, task and item; without samples, a row per model and task.

    The score is the first of the metrics and filters that all models have; the others are columns `METRIC/FILTER`. Of
    several evaluations of a task by one model the latest counts. Tasks that a model lacks are left out, as are groups
    such as mmlu: their tasks are there.

    Raises:
        TableError: a file cannot be read, or a task has no score that all models have, or other documents for one.
    """
    samples = [document for document in given if _has_samples(document)]
    every = [_samples(document) for document in samples] or [log for one in given for log in _results(one)]
    latest = {(log.model, log.task): log for log in sorted(_by_folder(every), key=lambda log: log.date)}
    said = []
    if 0 < len(samples) < len(given):
        said.append(f"files of results that are left out, since there are samples: {len(given) - len(samples)}")
    if len(latest) < len(every):
        said.append(f"older evaluations of a model and task that are left out: {len(every) - len(latest)}")
    tasks: dict[str, list[TaskLog]] = {}
    for _, log in sorted(latest.items()):
        tasks.setdefault(log.task, []).append(log)
    models = {log.model for log in latest.values()}
    if lacking := sorted(task for task, logs in tasks.items() if len(logs) < len(models)):
        said.append(f"tasks that not every model has are left out: {_listed(lacking)}")
    kept = {task: _same_items(task, logs) for task, logs in sorted(tasks.items()) if task not in lacking}
    if not kept:
        lack = f"{len(models)} models have no task in common" if tasks else "the files hold no task"
        raise TableError(f"{lack}: give the logs of models that were evaluated on the same tasks")
    chosen = {task: _choice(task, logs) for task, logs in kept.items()}
    frame = pd.concat([_rows(log, *chosen[task]) for task, logs in kept.items() for log in logs], ignore_index=True)
    said = [_choice_said(chosen), *said, *(_items_said(kept) if samples else ())]
    return Imported(frame, tuple(said), {"unit": "item" if samples else "run"})


def _has_samples(document: Document) -> bool:
    return document.columns >= SAMPLE


def _named(path: Path) -> tuple[str, str]:
    """Return the task and the date in the name of a file."""
    dated = DATE.search(path.stem)
    return DATE.sub("", path.stem).removeprefix("samples_"), dated[1] if dated else ""


def _samples(document: Document) -> TaskLog:
    columns: dict[str, dict[int, float]] = {}
    for number, line in enumerate(document.content, 1):
        if not (isinstance(line, Mapping) and isinstance(line.get("doc_id"), int)):
            raise TableError(f"{document.path.name}: line {number} has no number doc_id: it is no sample")
        item, rule = line["doc_id"], line.get("filter", "none")
        for name in line.get("metrics") or [key for key in line if key not in NO_METRICS]:
            column, value = columns.setdefault(f"{name}/{rule}", {}), line.get(name)
            if item in column:
                raise TableError(f"{document.path.name} has item {item} twice: keep one line of each")
            column[item] = float(value) if isinstance(value, bool | int | float) else math.nan
    task, date = _named(document.path)
    beside = next(documents(sorted(document.path.parent.glob(f"*_{date}.json"))[:1]), None) if date else None
    about = beside.content if beside is not None and recognizes(beside) else {}
    lines = {line["doc_id"]: line for line in document.content}
    scores, better = pd.DataFrame(columns).sort_index(), _of_task(about, "higher_is_better", task)
    return TaskLog(_model(about, document), task, document.path, date, scores, lines, higher_is_better=better)


def _results(document: Document) -> Iterator[TaskLog]:
    """Yield what a file of results says of each task; groups, whose tasks are there too, are left out."""
    content, date = document.content, _named(document.path)[1]
    if not isinstance(content["results"], Mapping):
        raise TableError(f"{document.path.name}: results must be an object with a task each, as lm_eval writes them")
    subtasks = content.get("group_subtasks") or {}
    groups = {*(content.get("groups") or {}), *(name for name in subtasks if subtasks[name])}
    for task, values in content["results"].items():
        if task in groups or not isinstance(values, Mapping):
            continue
        scores = {
            name.replace(",", "/"): {0: float(value)}
            for name, value in values.items()
            if "," in name and "_stderr," not in name and isinstance(value, int | float)
        }
        count = _of_task(content, "n-samples", task).get("effective")
        rows = float(count) if isinstance(count, int | float) else math.nan
        model, better = _model(content, document), _of_task(content, "higher_is_better", task)
        yield TaskLog(model, task, document.path, date, pd.DataFrame(scores), {}, rows, better)


def _of_task(about: Mapping[str, Any], part: str, task: str) -> Mapping[str, Any]:
    """Return what a part of the results says of a task, which older versions leave out."""
    tasks = about.get(part)
    said = tasks.get(task) if isinstance(tasks, Mapping) else None
    return said if isinstance(said, Mapping) else {}


def _model(about: Mapping[str, Any], document: Document) -> str:
    return str(about.get("model_name") or document.path.resolve().parent.name)


def _by_folder(logs: Sequence[TaskLog]) -> list[TaskLog]:
    """Return the logs; a model that lies in several folders has the folder above in its name, as another technique."""
    folders: dict[str, set[Path]] = {}
    for log in logs:
        folders.setdefault(log.model, set()).add(log.path.resolve().parent)
    return [
        replace(log, model=f"{log.path.resolve().parent.parent.name}/{log.model}")
        if len(folders[log.model]) > 1
        else log
        for log in logs
    ]


def _document_field(logs: Sequence[TaskLog]) -> str | None:
    """Return the field that tells whether two items are the same document, if all items have one."""
    names = ("doc_hash", "doc")
    return next((name for name in names if all(len(log.texts(name)) == len(log.lines) for log in logs)), None)


def _same_items(task: str, logs: list[TaskLog]) -> list[TaskLog]:
    """Return the logs with the same number for the same document in all of them.

    Numbers that disagree are replaced if all models have the same documents, in another order.

    Raises:
        TableError: a number stands for different documents.
    """
    name = _document_field(logs)
    if name is None:
        return logs
    texts = [log.texts(name) for log in logs]
    known: dict[int, tuple[str, str]] = {}
    differs = ""
    for log, mine in zip(logs, texts, strict=True):
        for item, text in mine.items():
            other, model = known.setdefault(item, (text, log.model))
            if other != text and not differs:
                differs = f"item {item} of task {task} is another document for {log.model} than for {model} ({name})"
    if not differs:
        return logs
    numbered = [_repeated(mine) for mine in texts]
    if len({frozenset(keys.values()) for keys in numbered}) > 1:
        raise TableError(f"{differs}: evaluate both on the same data")
    order = {key: index for index, key in enumerate(sorted(numbered[0].values()))}
    return [
        replace(log, scores=log.scores.rename(index={item: order[key] for item, key in keys.items()}).sort_index())
        for log, keys in zip(logs, numbered, strict=True)
    ]


def _repeated(texts: Mapping[int, str]) -> dict[int, tuple[str, int]]:
    """Return each text with the number of its occurrence, since a test set may have a document twice."""
    seen: Counter[str] = Counter()
    keys = {}
    for item, text in sorted(texts.items()):
        keys[item] = (text, seen[text])
        seen[text] += 1
    return keys


def _choice(task: str, logs: Sequence[TaskLog]) -> tuple[str, list[str]]:
    """Return the column that is the score of a task, and all columns that could be."""
    whole = [{str(name) for name in log.scores if log.scores[name].notna().all()} for log in logs]
    usable = [str(name) for name in logs[0].scores if all(name in names for names in whole)]
    if not usable:
        raise TableError(f"task {task} has no metric with a number for every item and model: leave its files out")
    metrics = [name.split("/")[0] for name in usable]
    preferred = next((name for name in PREFERRED if name in metrics), metrics[0])
    return usable[metrics.index(preferred)], usable


def _rows(log: TaskLog, chosen: str, usable: Sequence[str]) -> pd.DataFrame:
    metric = chosen.split("/")[0]
    better = log.higher_is_better.get(metric)
    direction = guessed_direction(metric) or "maximize"
    if isinstance(better, bool):
        direction = "maximize" if better else "minimize"
    about = {"technique": log.model, "workload": log.task, "metric": metric, "direction": direction}
    counts = {} if log.lines else {"num_test": log.num_items}
    scores = log.scores[list(usable)].assign(score=log.scores[chosen], seed=log.scores.index)
    return scores.assign(**about, **counts)


def _choice_said(chosen: Mapping[str, tuple[str, list[str]]]) -> str:
    tasks: dict[str, list[str]] = {}
    for task, (name, _) in chosen.items():
        tasks.setdefault(name, []).append(task)
    scores = ", ".join(f"`{name}` on {_listed(names)}" for name, names in tasks.items())
    others = sorted({name for _, usable in chosen.values() for name in usable} - set(tasks))
    more = f"; --map score=NAME takes another: {_listed(others)}" if others else ""
    return f"the score is {scores}{more}"


def _items_said(tasks: Mapping[str, Sequence[TaskLog]]) -> Iterator[str]:
    """Yield what was not the same for all models."""
    if unknown := [task for task, logs in tasks.items() if _document_field(logs) is None]:
        names = _listed(unknown)
        yield f"items are paired by doc_id; whether documents are the same is not known, without doc_hash: {names}"
    for task, logs in tasks.items():
        items = [set(log.scores.index) for log in logs]
        if len(set.union(*items)) > (shared := len(set.intersection(*items))):
            yield f"task {task}: {shared} of {len(set.union(*items))} items are those of all models"
    prompts = [[log.texts("prompt_hash") for log in logs] for logs in tasks.values()]
    if differ := [
        task for task, texts in zip(tasks, prompts, strict=True) if any(one != texts[0] for one in texts[1:])
    ]:
        yield f"prompts differ between models, as by few-shot examples or a template (prompt_hash): {_listed(differ)}"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - MOST_NAMED} more" if len(every) > MOST_NAMED else ""
    return ", ".join(every[:MOST_NAMED]) + more


LM_EVAL = Format("lm-eval", "lm-evaluation-harness", recognizes, read)
