"""What a report says of tuning, on a folder made by formula."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import make_cell
from evalbench.errors import TableError
from evalbench.record.folder import TunedFolder, load
from evalbench.record.studies import by_study
from evalbench.report import Report, write
from evalbench.report.analysis.findings import Findings, JudgedFindings, find, searched
from evalbench.report.sections.tuning import parity_sentence, sentence, spaces
from evalbench.seeds import STUDY_SEEDS
from evalbench.statistics.intervals import t_interval
from evalbench.statistics.tuning import expected_best
from evalbench.statistics.verdicts import Recommendation

Make = Callable[..., Path]


def text(folder: Path) -> str:
    return Report(find(load(folder))).markdown


RANDOM = "optuna.samplers.RandomSampler"
SPACE: dict[str, dict[str, dict[str, Any]]] = {
    "sgd": {"optimizer.lr": {"low": 1e-3, "high": 1.0, "log": True}},
    "adam": {
        "optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "optimizer.batch_size": {"choices": [16, 32]},
    },
}
BOUND = {"sgd": 0.05, "adam": 1e-4 * 1.2}  # what is chosen: inside, and at the low end
WORKLOADS = ("digits", "wine")


def tune(folder: Path, sampler: str = RANDOM, studies: int = 1, front: bool = False) -> Path:
    """Make the folder of an evaluation one that was tuned, its defaults two points worse than its results."""
    raw = json.loads((folder / "evaluation.json").read_text())
    objectives = ["val/accuracy", *(["cost/seconds"] if front else [])]
    raw["tuning"] = {
        "parity": True,
        "sampler": sampler,
        "batch": 8,
        "num_trials": 4,
        "num_seeds": 2,
        "num_studies": studies,
        "development": 0.7,
        "pruning": None,
        "objectives": dict.fromkeys(raw["workloads"], objectives),
        "directions": {"val/accuracy": "maximize", **({"cost/seconds": "minimize"} if front else {})},
        "space": SPACE,
    }
    raw["splits"] = {"train": 0.5, "validation": 0.2, "test": 0.3}
    (folder / "evaluation.json").write_text(json.dumps(raw))
    rows, entries = [], []
    for technique, space in SPACE.items():
        for workload in raw["workloads"]:
            for study in range(studies):
                key = {"technique": technique, "workload": workload, "study": study}
                for candidate in range(4):
                    lr = BOUND[technique] * (1 + 0.01 * study) * 4**candidate
                    batch = {"optimizer.batch_size": 16 * (1 + candidate % 2)} if technique == "adam" else {}
                    scores = {"val/accuracy": 0.9 - 0.1 * candidate + 0.01 * study}
                    scores |= {"cost/seconds": [3.0, 1.0, 2.0, 4.0][candidate]} if front else {}
                    work = {"val_loss": 0.1, "trials": 2, "steps": 20, "flops": 1e6, "seconds": 0.5}
                    rows.append(
                        {
                            **key,
                            "candidate": candidate,
                            "state": "COMPLETE",
                            **scores,
                            **work,
                            "optimizer.lr": lr,
                            **batch,
                        }
                    )
                chosen = {"optimizer.lr": BOUND[technique] * (1 + 0.01 * study)}
                if technique == "adam":
                    chosen["optimizer.batch_size"] = 16
                share = 0.9 if technique == "adam" else 1.0
                entries.append(
                    {
                        **key,
                        "name": "x",
                        "best": 0,
                        "space": space,
                        "default": dict.fromkeys(space, 0.01),
                        "chosen": chosen,
                        "importance": dict(zip(space, (share, 1 - share), strict=False)),
                        "importance_error": dict.fromkeys(space, 0.2),
                    }
                )
    pd.DataFrame(rows).to_csv(folder / "tuning.csv", index=False)
    (folder / "studies.json").write_text(json.dumps(entries))
    for name in ("results", "curves", "references"):
        table = pd.read_csv(folder / f"{name}.csv")
        whole = pd.concat(
            table.assign(study=study, seed=table["seed"] + study * STUDY_SEEDS) for study in range(studies)
        )
        if name == "results":
            whole.assign(score=whole["score"] - 0.02).drop(columns="study").to_csv(folder / "defaults.csv", index=False)
            whole["score"] += 0.001 * whole["study"] * (whole["technique"] == "adam")
        whole.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture
def tuned(tmp_path: Path, make_folder: Make) -> Callable[..., Path]:
    def make(**options: Any) -> Path:
        return tune(make_folder(tmp_path / "e", techniques=("sgd", "adam"), workloads=WORKLOADS, seeds=6), **options)

    return make


def said(folder: Path) -> str:
    return write(folder).read_text(encoding="utf-8")


def read(folder: Path) -> Findings:
    return find(load(folder))


@pytest.mark.slow
def test_the_report_tells_what_tuning_did(tuned: Callable[..., Path]) -> None:
    folder = tuned()
    text = said(folder)
    assert "Every technique was tuned on every workload: 4 candidates × 2 seeds by random search." in text
    assert "Both were tuned alike: 4 candidates × 2 seeds by random search on each workload." in text
    assert "at default settings" not in text.split("# Appendix")[0]
    assert "| `sgd` | 2 | 8 | 8 / 0 / 0 / 0 | 16 | 160 |" in text
    assert "the spaces have 1 to 2 dimensions" in text
    assert "Over the data sets, tuning bought `sgd` +2.00 accuracy points" in text
    assert "Within 5 % of a bound: `optimizer.lr` of `adam` at its low bound on `digits` and `wine`." in text
    assert "**0.00012 (low bound)** (0.01)" in text
    assert "| `adam` | `optimizer.lr` | 90 % | ± 14 | 90 to 90 % |" in text  # 20 points on each of two workloads
    assert "the test rows are the same for all" in text
    assert "splits are redrawn" not in text
    for name in ("tuning_best", "tuning_parallel", "tuning_slices"):
        assert f"figures/{name}.png" in text
        assert (folder / "figures" / f"{name}.csv").is_file()
    assert not (folder / "figures/tuning_front.png").exists()
    for link in re.findall(r"\]\(((?:numbers|figures)/[^)]+)\)", text):
        assert (folder / link).is_file(), link


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_the_same_folder_gives_the_same_bytes(tuned: Callable[..., Path]) -> None:
    folder = tuned()
    one, figure = said(folder), (folder / "figures/tuning_parallel.png").read_bytes()
    assert (said(folder), (folder / "figures/tuning_parallel.png").read_bytes()) == (one, figure)


def test_default_settings_are_judged_on_the_same_splits_with_their_cap(tuned: Callable[..., Path]) -> None:
    found = read(tuned())
    assert found.tuned is not None
    assert found.tuned.defaults is not None
    assert isinstance(found, JudgedFindings)
    assert found.judged.design.tuned
    assert not found.tuned.defaults.design.tuned
    assert found.tuned.defaults.verdict("adam").effect.mean == pytest.approx(found.judged.verdict("adam").effect.mean)
    gain = next(g for g in found.tuned.gains if g.technique == "adam" and g.workload == "wine")
    assert gain.tuned - gain.default == pytest.approx(gain.interval.mean) == pytest.approx(0.02)


@pytest.mark.slow
def test_unequal_chances_cap_the_ring(tuned: Callable[..., Path]) -> None:
    folder = tuned()
    raw = json.loads((folder / "evaluation.json").read_text())
    raw["tuning"]["parity"] = False
    (folder / "evaluation.json").write_text(json.dumps(raw))
    found = read(folder)
    assert isinstance(found, JudgedFindings)
    assert found.judged.verdict("adam").recommendation not in (Recommendation.ADOPT, Recommendation.TRIAL)
    text = said(folder)
    assert "Parity fails" in text
    assert "They were not tuned alike, at most: 4 candidates" in text


def test_random_search_gets_the_expected_best_of_n(tuned: Callable[..., Path]) -> None:
    found = read(tuned())
    assert found.tuned is not None
    mine = found.tuned.best_scores[found.tuned.best_scores["technique"] == "sgd"]
    expected = expected_best([0.9, 0.8, 0.7, 0.6])
    assert mine[mine["workload"] == "wine"]["mean"].tolist() == pytest.approx(expected.without_replacement.tolist())


@pytest.mark.slow
def test_a_pruned_candidate_counts_by_the_epochs_that_it_used(tuned: Callable[..., Path]) -> None:
    folder = tuned()
    table = pd.read_csv(folder / "tuning.csv")
    pruned = table["candidate"] >= 2
    table = table.assign(state=table["state"].mask(pruned, "PRUNED"), epochs=np.where(pruned, 4, 40))  # of two trials
    table.to_csv(folder / "tuning.csv", index=False)
    found = read(folder)
    assert found.tuned is not None
    mine = found.tuned.best_scores[(found.tuned.best_scores[["technique", "workload"]] == ["sgd", "wine"]).all(axis=1)]
    assert mine["n"].tolist() == [1, 2, 3, 4]
    assert mine["full_candidates"].tolist() == pytest.approx([0.55, 1.1, 1.65, 2.2])
    assert "A pruned candidate counts by the epochs that it used." in said(folder)


@pytest.mark.slow
def test_an_adaptive_sampler_gets_the_best_so_far(tuned: Callable[..., Path]) -> None:
    folder = tuned(sampler="optuna.samplers.TPESampler", studies=3)
    found = read(folder)
    assert found.tuned is not None
    mine = found.tuned.best_scores[found.tuned.best_scores["workload"] == "wine"]
    assert mine[mine["technique"] == "adam"]["mean"].tolist() == pytest.approx([0.91] * 4)
    text = said(folder)
    assert "Candidates were asked for 8 at a time" in text
    assert "Best validation score so far, mean over 3 studies." in text


def test_where_the_search_was_repeated_the_study_is_what_repeats(tuned: Callable[..., Path]) -> None:
    path = tuned(studies=3)
    found = read(path)
    assert len(found.folder.results) == 2 * 2 * 3
    assert isinstance(found, JudgedFindings)
    verdict = found.judged.verdict("adam")
    assert verdict.num_pairs == 3
    assert verdict.sets[0].interval.sd == pytest.approx(0.001)  # how the studies differ, not the seeds
    assert isinstance(found.folder, TunedFolder)
    assert len(found.folder.defaults.results) == 2 * 2 * 3 * 6


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_two_objectives_have_a_front(tuned: Callable[..., Path]) -> None:
    folder = tuned(front=True)
    found = read(folder)
    assert found.tuned is not None
    mine = found.tuned.front[(found.tuned.front["workload"] == "wine") & (found.tuned.front["technique"] == "sgd")]
    assert mine["on_front"].tolist() == [True, True, False, False]
    assert "figures/tuning_front.png" in said(folder)
    table = pd.read_csv(folder / "tuning.csv")
    table.loc[table["candidate"] == 1, "state"] = "DIVERGED"  # the cheapest one
    table.to_csv(folder / "tuning.csv", index=False)
    again = read(folder).tuned
    assert again is not None
    assert again.front.groupby("candidate")["on_front"].any().tolist() == [True, False, True, False]


def test_candidates_that_failed_are_named_with_the_reason_and_their_work_is_not_known(
    tuned: Callable[..., Path],
) -> None:
    folder = tuned()
    table = pd.read_csv(folder / "tuning.csv")
    gone = (table["technique"] == "sgd") & (table["workload"] == "wine") & (table["candidate"] > 1)
    table.loc[gone, ["state", "val/accuracy", "val_loss", "flops"]] = ["FAILED", None, None, None]
    table.assign(message=np.where(gone, "RuntimeError: no <b>", "")).to_csv(folder / "tuning.csv", index=False)
    said = text(folder)
    assert "| `sgd` | `wine` | 2 and 3 | `lr` 0.8 | RuntimeError: no \\<b\\> |" in said
    assert "| `sgd` | 2 | 8 | 6 / 0 / 0 / 2 | 16 | 160 | not known |" in said


@pytest.mark.parametrize("state", ["DIVERGED", "PRUNED", "FAILED"])
@pytest.mark.parametrize("techniques", [("sgd",), ("sgd", "adam")])
@pytest.mark.slow
def test_where_no_candidate_solves_both_objectives_the_front_is_empty(
    tuned: Callable[..., Path], state: str, techniques: tuple[str, ...]
) -> None:
    folder = tuned(front=True)
    table = pd.read_csv(folder / "tuning.csv")
    gone = table["technique"].isin(techniques)
    table.loc[gone, "state"] = state
    if state == "FAILED":
        table.loc[gone, ["val/accuracy", "cost/seconds"]] = None
    table.to_csv(folder / "tuning.csv", index=False)
    found = read(folder).tuned
    assert found is not None
    assert set(found.front.loc[found.front["on_front"], "technique"]) == {"sgd", "adam"} - set(techniques)
    assert ("tuning_front.png" in text(folder)) == (len(techniques) < 2)


@pytest.mark.parametrize("finished", [{"sgd": 1, "adam": 1}, {"sgd": 1, "adam": 3}])
def test_pruned_candidates_had_less_than_the_budget_and_not_always_alike(
    tuned: Callable[..., Path], finished: dict[str, int]
) -> None:
    folder = tuned()
    raw = json.loads((folder / "evaluation.json").read_text())
    raw["tuning"]["pruning"] = {"eta": 3, "first_rung": 1}
    (folder / "evaluation.json").write_text(json.dumps(raw))
    table = pd.read_csv(folder / "tuning.csv")
    table.loc[table["candidate"] >= table["technique"].map(finished), "state"] = "PRUNED"
    table.to_csv(folder / "tuning.csv", index=False)
    found = searched(read(folder))
    assert found is not None
    said = parity_sentence(found)
    assert "the same number of candidates and seeds, and the same most epochs or steps" in said
    alike = len(set(finished.values())) == 1
    assert ("Halving left as many candidates of each technique to finish." in said) == alike
    assert ("1 of `sgd` and 3 of `adam` in a study" in said) != alike
    assert ("tuned alike" in sentence(found)) == alike
    assert ("not as many that finished" in sentence(found)) != alike


# ── repeated studies ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_studies_that_were_measured_with_the_same_seeds_are_refused(tuned: Callable[..., Path]) -> None:
    folder = tuned(studies=3)
    table = pd.read_csv(folder / "results.csv")
    table.assign(seed=table["seed"] % STUDY_SEEDS).to_csv(folder / "results.csv", index=False)
    with pytest.raises(TableError, match=r"seeds of its own, but study 1 has seed 0 of another study"):
        load(folder)


@pytest.mark.slow
def test_the_default_is_paired_with_each_study_on_its_own_seeds(tuned: Callable[..., Path]) -> None:
    folder = tuned(studies=3)
    for name in ("results", "defaults"):  # a study with easy rows, for both alike
        table = pd.read_csv(folder / f"{name}.csv")
        table["score"] += 0.1 * (table["seed"] // STUDY_SEEDS == 1)
        table.to_csv(folder / f"{name}.csv", index=False)
    found = read(folder)
    assert found.tuned is not None
    (gain,) = (g for g in found.tuned.gains if (g.technique, g.workload) == ("adam", "wine"))
    assert gain.interval.count == 3
    assert gain.interval.sd == pytest.approx(0.001)
    assert gain.interval.mean == pytest.approx(0.021)


@pytest.mark.slow
def test_a_technique_that_failed_in_one_study_is_left_out_there(tuned: Callable[..., Path]) -> None:
    folder = tuned(studies=3)
    table = pd.read_csv(folder / "results.csv")
    gone = (table["technique"] == "adam") & (table["workload"] == "wine") & (table["seed"] // STUDY_SEEDS == 1)
    table.loc[gone, ["state", "score"]] = ["FAILED", None]
    table.to_csv(folder / "results.csv", index=False)
    found = read(folder)
    assert found.left_out[["workload", "reason", "count"]].to_numpy().tolist() == [["wine", "adam FAILED", 1]]
    assert isinstance(found, JudgedFindings)
    assert found.judged.verdict("adam").recommendation is Recommendation.INVALID


def test_a_seed_that_failed_for_one_technique_is_left_out_of_a_study_for_all() -> None:
    rows = [
        {"technique": technique, "workload": "w", "study": 0, "seed": seed, "state": "COMPLETE", "score": 0.1 * seed}
        for technique in ("a", "b")
        for seed in range(3)
    ]
    rows[2]["state"] = "FAILED"
    means = by_study(pd.DataFrame(rows).assign(failed=0.0), ["technique", "workload"], ["score", "failed"])
    assert means["score"].tolist() == pytest.approx([0.05, 0.05])


@pytest.mark.parametrize(("num_studies", "num_seeds"), [(6, 1), (3, 2)])
@pytest.mark.slow
def test_where_there_is_no_difference_repeated_studies_seldom_give_one(num_studies: int, num_seeds: int) -> None:
    """In 2,000 evaluations a direction is found in 5 %, with the seeds that evalbench gives its studies.

    A score is a function of technique, chosen setting and seed: the noise of a seed has a part that techniques share,
    and each study's choice is better or worse by chance. With the same seeds in each study far more are wrong.
    """
    cell = make_cell("dataset=iris", "+search=random", f"search.num_studies={num_studies}", f"num_seeds={num_seeds}")
    given = [cell.at({}, study=study).seeds for study in range(num_studies)]
    assert wrong_directions(given) <= 0.06  # 0.05, and two standard errors of the simulation
    assert wrong_directions([list(range(num_seeds))] * num_studies) > 0.3


def wrong_directions(seeds: Sequence[Sequence[int]], num_evaluations: int = 2000) -> float:
    """The share of evaluations without a difference whose interval excludes zero; `seeds` are those of each study."""
    generator = np.random.default_rng(0)
    places = {seed: place for place, seed in enumerate(sorted({seed for each in seeds for seed in each}))}
    shared = generator.standard_normal((num_evaluations, 1, len(places)))
    noise = shared + generator.standard_normal((num_evaluations, 2, len(places)))
    choice = 0.3 * generator.standard_normal((num_evaluations, 2, len(seeds)))
    tables = [
        pd.DataFrame(
            {
                "workload": np.arange(num_evaluations),
                "technique": technique,
                "study": study,
                "seed": seed,
                "score": noise[:, number, places[seed]] + choice[:, number, study],
            }
        )
        for number, technique in enumerate("ab")
        for study, each in enumerate(seeds)
        for seed in each
    ]
    means = by_study(pd.concat(tables), ["technique", "workload"], ["score"])
    wide = means.pivot(index=["workload", "seed"], columns="technique", values="score")
    pairs = (wide["a"] - wide["b"]).groupby("workload")
    return float(np.mean([t_interval(each.to_numpy(), 0.95, 0.0).side != 0 for _, each in pairs]))


@pytest.mark.slow
def test_a_value_is_held_against_the_bounds_of_its_own_study(tuned: Callable[..., Path]) -> None:
    folder = tuned()
    raw = json.loads((folder / "studies.json").read_text())
    raw[0]["space"]["optimizer.lr"] = {"low": 0.049, "high": 1.0, "log": True}  # of one setting of another factor
    (folder / "studies.json").write_text(json.dumps(raw))
    found = searched(read(folder))
    assert found is not None
    assert [choice.bound for choice in found.choices if choice.technique == "sgd"] == ["low", None]
    assert "these ranges span them all" in spaces(found)


@pytest.mark.parametrize(("name", "word"), [("tuning.csv", "missing"), ("studies.json", "missing")])
def test_what_is_missing_is_said_in_one_line(tuned: Callable[..., Path], name: str, word: str) -> None:
    folder = tuned()
    (folder / name).unlink()
    with pytest.raises(TableError, match=word):
        write(folder)


@pytest.mark.slow
def test_the_price_of_an_answer_counts_the_default_and_the_tuning(tmp_path: Path, make_folder: Make) -> None:
    techniques = ("sgd", "adam")
    folder = tune(make_folder(tmp_path, techniques=techniques, workloads=WORKLOADS, seeds=6))
    results = pd.read_csv(folder / "results.csv")
    results["score"] += 0.03 * ((results["technique"] == "adam") & (results["workload"] == "wine"))  # data sets differ
    results.to_csv(folder / "results.csv", index=False)
    findings = find(load(folder))
    assert isinstance(findings, JudgedFindings)
    bill = findings.bills["adam"]
    sign = bill.datasets_for_sign
    assert sign.needed is not None
    assert sign.needed > 2
    assert sign.trials == 2 * (sign.needed - 2) * (2 * 6 + 4 * 2)  # sides, data sets, (best and default, candidates)
    seeds = bill.seeds_for_rope
    assert seeds.needed is not None
    assert seeds.trials == 2 * 2 * 2 * max(0, seeds.needed - 6)  # sides, data sets, best and default
