"""The studies of a tuned evaluation: `tuning.csv` and `studies.json`, read once and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.errors import TableError
from evalbench.record.declared import Declaration
from evalbench.record.schema import CANDIDATE_STATES, NUMBERS
from evalbench.record.tables import only, read_table
from evalbench.seeds import study_of


@dataclass(frozen=True)
class RecordedStudy:
    """One search, and what it chose."""

    technique: str
    workload: str
    factors: Mapping[str, str]
    number: int
    name: str  # in Optuna's storage
    best: int | None  # number of the candidate that was measured
    space: Mapping[str, Mapping[str, Any]]  # its own; that of the technique spans those of all settings
    default: Mapping[str, Any]  # path -> the value as it stands in the configuration
    chosen: Mapping[str, Any]
    importance: Mapping[str, float]
    importance_error: Mapping[str, float]  # its standard error; empty in folders of before


@dataclass(frozen=True)
class Studies:
    """All searches of an evaluation.

    candidates: one row per technique, workload, setting, study and candidate, with a column for each objective and each
        hyperparameter (empty if a technique does not have it).
    search: what all studies share, `tuning` of `evaluation.json`: sampler, number of candidates, objectives, spaces.
    """

    studies: tuple[RecordedStudy, ...]
    candidates: pd.DataFrame
    search: Mapping[str, Any]

    def of(self, technique: str, workload: str | None = None) -> list[RecordedStudy]:
        """Return the studies of one technique, on one workload or all."""
        return [s for s in self.studies if s.technique == technique and workload in (None, s.workload)]


def read_studies(folder: Path, evaluation: Declaration) -> Studies:
    """Read and check the files of the searches.

    Raises:
        TableError: one is missing or unreadable, or does not fit `evaluation.json`.
    """
    search = evaluation.tuning or {}
    names = list(search["directions"])
    paths = list(dict.fromkeys(path for space in search["space"].values() for path in space))
    numeric = [path for path in paths if all(_is_numeric(s.get(path)) for s in search["space"].values())]
    texts = ["technique", "workload", *evaluation.factors, "state"]
    path = folder / "tuning.csv"
    table = read_table(path, texts, [*NUMBERS["tuning.csv"], *names], optional=[*numeric, "epochs"])
    only(path.name, table, "technique", evaluation.techniques)
    only(path.name, table, "workload", evaluation.workloads)
    only(path.name, table, "state", CANDIDATE_STATES)
    studies = _read_json(folder / "studies.json", list(evaluation.factors), search["space"])
    order = [*evaluation.factors, "study", "candidate"]
    indices = pd.DataFrame(
        {
            "technique": table["technique"].map({name: index for index, name in enumerate(evaluation.techniques)}),
            "workload": table["workload"].map({name: index for index, name in enumerate(evaluation.workloads)}),
            **{name: table[name] for name in order},
        }
    )
    rows = indices.sort_values(["technique", "workload", *order], kind="stable").index
    return Studies(studies, table.loc[rows].reset_index(drop=True), search)


def _is_numeric(spec: Mapping[str, Any] | None) -> bool:
    if spec is None or "choices" not in spec:
        return True
    return all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in spec["choices"])


def _read_json(path: Path, factors: Sequence[str], spaces: Mapping[str, Any]) -> tuple[RecordedStudy, ...]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            RecordedStudy(
                technique=one["technique"],
                workload=one["workload"],
                factors={name: str(one[name]) for name in factors},
                number=int(one["study"]),
                name=one["name"],
                best=one["best"],
                space=one.get("space") or spaces[one["technique"]],
                default=one["default"],
                chosen=one["chosen"] or {},
                importance=one["importance"],
                importance_error=one.get("importance_error", {}),
            )
            for one in raw
        )
    except FileNotFoundError:
        raise TableError(f"{path} is missing: a tuned evaluation has it beside evaluation.json") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(f"{path} does not list studies: {type(error).__name__} {error}") from None


def check_seeds(name: str, table: pd.DataFrame) -> None:
    """Refuse studies that were measured with the same seeds.

    Their means share the noise of those seeds, so that their spread is too small for an interval.
    """
    shared = table[table["study"] != study_of(table["seed"])[0]]
    if len(shared):
        raise TableError(
            f"{name}: each study must have measured with seeds of its own, but study {int(shared['study'].iloc[0])} has"
            f" seed {int(shared['seed'].iloc[0])} of another study: run the evaluation again"
        )


def by_study(table: pd.DataFrame, keys: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Average trials over the seeds of a study, whose number becomes the seed: studies repeat, not seeds.

    Techniques are paired by study and seed: a seed that FAILED for one of them is left out of the study's mean of all.
    A study is DIVERGED only if all its trials are, and FAILED, without a score, if no seed is left. `columns` are
    averaged.
    """
    ended = table
    if "state" in table:
        ended = table[table["state"] != "FAILED"]
        study = [key for key in keys if key != "technique"] + ["study"]
        there = ended.groupby([*study, "seed"])["technique"].transform("nunique")
        ended = ended[there == ended.groupby(study)["technique"].transform("nunique")]
    groups = ended.groupby([*keys, "study"], sort=False)
    rows = groups[list(columns)].mean()
    constant = [c for c in ("metric", "direction", "unit") if c in table]
    every = table.groupby([*keys, "study"], sort=False)[constant].first()
    rows = rows.reindex(every.index)
    rows[constant] = every
    if "state" in table:
        states = groups["state"].agg(lambda states: "DIVERGED" if (states == "DIVERGED").all() else "COMPLETE")
        rows["state"] = states.reindex(every.index).fillna("FAILED")
        rows["failed"] = rows["failed"].fillna(0.0)
    return rows.reset_index().rename(columns={"study": "seed"})
