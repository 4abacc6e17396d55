"""Logs of lm-evaluation-harness: items are paired by their documents, tasks are workloads, groups are not counted."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalbench import formats
from evalbench.errors import TableError
from evalbench.report.__main__ import main

DATE = "2026-01-02T03-04-05.678901"
Line = dict[str, Any]


def line(item: int, score: float, **more: Any) -> Line:
    """Return one sample as the harness writes it."""
    return {
        "doc_id": item, "doc": {"text": f"question {item}"}, "target": "a", "arguments": {}, "resps": [["a"]],
        "filtered_resps": ["a"], "filter": "none", "metrics": ["acc", "acc_norm"], "doc_hash": f"hash {item}",
        "prompt_hash": "p", "target_hash": "t", "acc": score, "acc_norm": 1 - score, **more,
    }  # fmt: skip


def samples(folder: Path, task: str, lines: Sequence[Line], date: str = DATE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"samples_{task}_{date}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return folder


def results(folder: Path, model: str, scores: Mapping[str, Mapping[str, Any]], **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"results": scores, "versions": {}, "configs": {}, "model_name": model, **more}
    (folder / f"results_{DATE}.json").write_text(json.dumps(content))


def scores_of(folder: Path) -> dict[str, list[list[float]]]:
    """Return the items and their scores by model."""
    frame = formats.read([str(folder)]).frame
    return {str(model): rows[["seed", "score"]].to_numpy().tolist() for model, rows in frame.groupby("technique")}


@pytest.mark.slow
def test_a_model_that_answers_more_items_is_better(tmp_path: Path) -> None:
    draw = np.random.default_rng(2).random(200)
    for model, share in (("big", 0.8), ("small", 0.5)):
        samples(tmp_path / model, "arc_easy", [line(i, float(draw[i] < share)) for i in range(200)])
        strict, loose = ({"filter": name, "metrics": ["exact_match"]} for name in ("strict-match", "flexible-extract"))
        lines = [line(i, 0, **rule, exact_match=float(draw[i] < share)) for i in range(200) for rule in (strict, loose)]
        samples(tmp_path / model, "gsm8k", lines)
    asked = [str(tmp_path), "--baseline", "small", "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    gain = 100 * float(np.mean(draw < 0.8) - np.mean(draw < 0.5))
    assert f"+{gain:.1f}" in said
    assert "accuracy points" in said
    assert "(200 items each)" in said
    assert "the score is 'acc/none' on arc_easy, 'exact_match/strict-match' on gsm8k" in said
    assert "--map score=NAME takes another: acc_norm/none, exact_match/flexible-extract" in said


def test_items_with_other_numbers_are_paired_by_their_documents(tmp_path: Path) -> None:
    """The documents of B come in another order, and one of them occurs twice."""
    hashes = ["x", "y", "y", "z"]
    samples(tmp_path / "A", "t", [line(i, float(i == 3), doc_hash=hashes[i]) for i in range(4)])
    samples(tmp_path / "B", "t", [line(i, float(i == 0), doc_hash=hashes[3 - i]) for i in range(4)])
    paired = scores_of(tmp_path)
    assert paired["A"] == paired["B"] == [[0, 0.0], [1, 0.0], [2, 0.0], [3, 1.0]]


def test_the_documents_themselves_are_compared_without_a_hash(tmp_path: Path) -> None:
    bare = [{k: v for k, v in line(i, 1.0).items() if k not in ("doc_hash", "filter", "metrics")} for i in range(3)]
    samples(tmp_path / "A", "t", bare)
    samples(tmp_path / "B", "t", [line(i, 0.0) for i in range(3)])
    assert scores_of(tmp_path) == {"A": [[0, 1], [1, 1], [2, 1]], "B": [[0, 0], [1, 0], [2, 0]]}
    samples(tmp_path / "B", "t", [line(i, 0.0, doc={"text": f"other {i}"}) for i in range(3)])
    message = r"item 0 of task t is another document for B than for A \(doc\): evaluate both on the same data"
    with pytest.raises(TableError, match=message):
        formats.read([str(tmp_path)])
    samples(tmp_path / "B", "t", [line(i, 0.0, doc=None, doc_hash="") for i in range(3)])
    assert "whether documents are the same is not known, without doc_hash: t" in formats.read([str(tmp_path)]).said[1]


def test_what_differs_between_models_is_said(tmp_path: Path) -> None:
    samples(tmp_path / "A", "t", [line(i, 1.0) for i in range(5)])
    samples(tmp_path / "A", "t", [line(i, 0.0) for i in range(5)], "2025-01-01T00-00-00.000001")
    samples(tmp_path / "A", "only", [line(0, 1.0)])
    samples(tmp_path / "B", "t", [line(i, 1.0, prompt_hash="q") for i in range(3)])
    results(tmp_path / "B", "B", {})
    reading = formats.read([f"{tmp_path}/*/*"])
    assert reading.said[1:] == (
        "files of results that are left out, since there are samples: 1",
        "older evaluations of a model and task that are left out: 1",
        "tasks that not every model has are left out: only",
        "task t: 3 of 5 items are those of all models",
        "prompts differ between models, as by few-shot examples or a template (prompt_hash): t",
    )
    assert reading.frame.groupby("technique")["score"].agg(["sum", "size"]).to_numpy().tolist() == [[5, 5], [3, 3]]


def test_models_have_the_names_in_their_results(tmp_path: Path) -> None:
    """A model in two folders is two techniques, and a metric of which less is better says so."""
    for folder in ("plain", "chat"):
        samples(tmp_path / folder / "m", "t", [line(0, 1.0, metrics=["wer_like"], wer_like=0.25)])
        results(tmp_path / folder / "m", "org/m", {}, higher_is_better={"t": {"wer_like": False}})
    frame = formats.read([str(tmp_path)]).frame
    assert sorted(frame["technique"]) == ["chat/org/m", "plain/org/m"]
    assert (set(frame["metric"]), set(frame["direction"])) == ({"wer_like"}, {"minimize"})


def test_groups_are_left_out_of_results(tmp_path: Path) -> None:
    for model, better in (("A", 0.0), ("B", 0.125)):
        tasks = {name: {"alias": name, "acc,none": 0.5 + better, "acc_stderr,none": 0.05} for name in ("law", "math")}
        groups = {"mmlu": {"alias": "mmlu", "acc,none": 0.5 + better}}
        count = {name: {"original": 200, "effective": 100} for name in tasks}
        more = {"groups": groups, "group_subtasks": {"mmlu": list(tasks), "law": []}, "n-samples": count}
        results(tmp_path / model, f"org/{model}", {**groups, **tasks}, **more)
    reading = formats.read([str(tmp_path)])
    assert reading.frame[["technique", "workload", "score", "num_test"]].to_numpy().tolist() == [
        ["org/A", "law", 0.5, 100],
        ["org/B", "law", 0.625, 100],
        ["org/A", "math", 0.5, 100],
        ["org/B", "math", 0.625, 100],
    ]
    assert reading.declared == {"unit": "run"}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda _: [line(0, 1.0), {"doc_id": "x"}], "line 2 has no number doc_id: it is no sample"),
        (lambda _: [line(0, 1.0), line(0, 1.0)], "has item 0 twice: keep one line of each"),
        (lambda model: [line(0, 1.0, metrics=[model], A=1.0, B=1.0)], "task t has no metric with a number for every"),
        (lambda _: [line(0, 1.0, metrics=["f1"], f1=[1, 2])], "task t has no metric with a number for every item"),
    ],
)
def test_logs_that_cannot_be_paired_are_refused(
    tmp_path: Path, broken: Callable[[str], list[Line]], message: str
) -> None:
    for model in "AB":
        samples(tmp_path / model, "t", broken(model))
    with pytest.raises(TableError, match=message):
        formats.read([str(tmp_path)])


def test_models_without_a_common_task_are_refused(tmp_path: Path) -> None:
    samples(tmp_path / "A", "one", [line(0, 1.0)])
    samples(tmp_path / "B", "other", [line(0, 1.0)])
    with pytest.raises(TableError, match="2 models have no task in common"):
        formats.read([str(tmp_path)])
    results(tmp_path / "empty", "C", {"task": {"acc,none": "N/A"}}, groups={"task": {}})
    with pytest.raises(TableError, match="the files hold no task"):
        formats.read([str(tmp_path / "empty")])
    (tmp_path / "A" / f"samples_one_{DATE}.jsonl").write_text("{")
    with pytest.raises(TableError, match="cannot be read as JSONL"):
        formats.read([str(tmp_path)])
