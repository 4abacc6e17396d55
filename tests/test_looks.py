"""Seeds in stages: planted effects end at the look that settles them, and a killed run goes on as if it never was."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import evalbench
from conftest import compose_config
from evalbench.api import Evaluation
from evalbench.errors import ConfigError, JobLostError
from evalbench.evaluation.checks import check_trainable
from evalbench.evaluation.conclude import Outcome
from evalbench.evaluation.looks import reached
from evalbench.evaluation.plan import Plan
from evalbench.evaluation.run import run, train_here
from evalbench.report import read
from evalbench.report.analysis.looks import looks_taken
from evalbench.statistics.looks import Stop
from evalbench.store import Store
from evalbench.terminal.looks import LookLines
from report.conftest import make, with_verdicts

BASELINE = "optimizer.lr=0.03"
PLANTED = {"first": "0.0001", "third": "0.0007", "futile": "0.036"}
"""Learning rates after four epochs: far behind the baseline, behind it, and as good."""
OWN = (
    "dataset=csv",
    "dataset.path=own.csv",
    "model.width=32",
    "optimizer=adam",
    "optimizer.batch_size=32",
    "budget.epochs=4",
    "split.test=0.18",
    "split.validation=0.1",
    "evaluation.rope.accuracy=0.005",
    "evaluation.looks=[5,10,20]",
    "tracker=none",
    "cost.rounds=0",
)


def write_own(folder: Path) -> None:
    """Write a table whose target is the sign of a noisy sum of two columns."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 3))
    y = x[:, 0] + 0.5 * x[:, 1] + generator.normal(0, 0.5, 300)
    target = np.where(y > 0, "yes", "no")
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "target": target}).to_csv(folder / "own.csv", index=False)


def evaluate(effect: str, reports: Path) -> Evaluation:
    return evalbench.evaluate([*OWN, f"{BASELINE},{PLANTED[effect]}", f"reports={reports}"], name=effect)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Evaluation]]:
    """Evaluate all planted effects, one after the other, on one store."""
    folder = tmp_path_factory.mktemp("planted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_own(folder)
        yield {effect: evaluate(effect, folder) for effect in PLANTED}


def printed(outcome: Outcome) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    LookLines(console).tell(outcome)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("effect", "index", "stopped", "num_seeds"),
    [("first", 0, Stop.DECIDED, 5), ("third", 2, Stop.DECIDED, 20), ("futile", 1, Stop.FUTILE, 10)],
)
def test_a_planted_effect_ends_at_the_look_that_settles_it(
    planted: dict[str, Evaluation], effect: str, index: int, stopped: Stop, num_seeds: int
) -> None:
    report, results = planted[effect].report, planted[effect].results
    (verdict,) = report.findings.judged.verdicts  # type: ignore[attr-defined]
    assert (verdict.looks.index, verdict.looks.stopped, verdict.looks.num_seeds) == (index, stopped, num_seeds)
    assert results.groupby("technique").size().tolist() == [num_seeds] * 2
    assert results.groupby("look")["seed"].min().tolist() == [0, 5, 10][: index + 1]
    looks = looks_taken(report.findings)
    assert looks is not None
    assert [(look.number, look.num_trials) for look in looks.looks] == [(1, 10), (2, 20), (3, 40)][: index + 1]
    assert looks.num_planned == 40
    assert not looks.interim
    assert "Interim report" not in report.markdown


@pytest.mark.slow
def test_each_look_says_what_it_decided_and_what_it_cost(planted: dict[str, Evaluation]) -> None:
    outcome = planted["third"].outcome
    first, second, third = printed(outcome)
    assert first.startswith("Look     1 of 3, 5 seeds, 10 trials and ")
    assert first.endswith(" s of training so far: 0.0007 is open, next look at 10 seeds")
    assert second.endswith(" s of training so far: 0.0007 is open, next look at 20 seeds")
    assert third.endswith(" s of training so far: 0.0007 is worse by more than the ROPE (decided)")
    assert "trained 10 of 40 trials: 75 % saved by looks" in planted["first"].report.markdown
    assert "trained 40 of 40 trials: 0 % saved by looks" in planted["third"].report.markdown


@pytest.mark.slow
def test_a_report_says_which_trials_had_been_judged_before(planted: dict[str, Evaluation]) -> None:
    assert planted["first"].report.findings.evaluation.judged_before == ()
    (before,) = planted["third"].report.findings.evaluation.judged_before or ()
    assert (before.evaluation, before.looks, before.techniques) == ("first", (5, 10, 20), ("0.03",))
    assert (before.trials, before.seeds) == (5, (0, 1, 2, 3, 4))
    said = "5 trials (`0.03`, seeds 0 to 4) had been judged before, in `first` with looks at 5, 10 and 20 seeds."
    assert said in planted["third"].report.markdown


class Killed(BaseException):
    """Ends a run as `kill -9` does: nothing is written any more."""


@pytest.mark.slow
def test_a_run_killed_anywhere_goes_on_to_the_same_bytes(workspace: Path, planted: dict[str, Evaluation]) -> None:
    write_own(workspace)
    rates = (BASELINE, f"optimizer.lr={PLANTED['third']}")
    plan = Plan.of([compose_config(*OWN, rate, "evaluation.name=third", f"reports={workspace}") for rate in rates])
    store = Store(plan.config.store_url)

    def die_after_a_job(plan: Plan, jobs: Sequence[int]) -> Sequence[Exception | None]:
        train_here(store)(plan, jobs[:1])
        raise Killed

    def die(outcome: Outcome) -> None:
        assert "Interim report: look 1 of 3, 5 seeds" in (workspace / "third/report.md").read_text()
        raise Killed

    trained = []
    for train, tell in ((die_after_a_job, die), (train_here(store), die), (die_after_a_job, lambda _: None)):
        with pytest.raises(Killed):
            run(reached(plan, store), store, train, "a command", tell=tell)
        trained.append(sum(store.count_states("third").values()))
    assert trained == [5, 10, 15]
    resumed = evaluate("third", workspace)
    assert resumed.folder != planted["third"].folder
    for name in ("results.csv", "numbers/verdicts.csv", "numbers/looks.csv"):
        assert (resumed.folder / name).read_bytes() == (planted["third"].folder / name).read_bytes(), name
    assert printed(evaluate("third", workspace).outcome) == printed(resumed.outcome)
    others = [compose_config(*OWN, rate, "evaluation.name=third", "evaluation.looks=[5,10]") for rate in rates]
    refusal = (
        r"^evaluation\.looks must stay as declared .* \(\[5, 10, 20\]\), not \[5, 10\]: give evaluation\.name=OTHER"
    )
    with pytest.raises(ConfigError, match=refusal):
        check_trainable(Plan.of(others), store)


@pytest.mark.slow
def test_a_technique_that_failed_keeps_its_seeds_until_it_works(workspace: Path) -> None:
    write_own(workspace)
    rates = (BASELINE, f"optimizer.lr={PLANTED['first']}")
    plan = Plan.of([compose_config(*OWN, rate, f"reports={workspace}") for rate in rates])
    store = Store(plan.config.store_url)

    def lose_the_second(plan: Plan, jobs: Sequence[int]) -> Sequence[Exception | None]:
        return [*train_here(store)(plan, jobs[:1]), JobLostError("it died")]

    failed = run(reached(plan, store), store, lose_the_second, "a command")
    assert failed.plan.seeds == {"0.03": 5, "0.0001": 5}
    (line,) = printed(failed)
    assert line.endswith(": 0.0001 cannot be judged")
    (line,) = printed(run(reached(plan, store), store, train_here(store), "a command"))
    assert line.endswith(": 0.0001 is worse by more than the ROPE (decided)")


@pytest.mark.slow
def test_what_was_decided_does_not_change_with_the_seeds_of_others(tmp_path: Path) -> None:
    findings = []
    for name, last in (("short", 4), ("long", 12)):
        folder = make(tmp_path / name, workloads=("digits", "wine", "diabetes"), seeds=12)
        content = json.loads((folder / "evaluation.json").read_text())
        (folder / "evaluation.json").write_text(json.dumps({**content, "looks": [4, 12]}))
        table = pd.read_csv(folder / "results.csv")
        kept = table["seed"] < table["technique"].map({"bgd": 4}).fillna(last)
        table[kept].to_csv(folder / "results.csv", index=False)
        findings.append(with_verdicts(read(folder).findings).judged)
    short, long = findings
    assert long.design.floors.tolist() == pytest.approx(short.design.floors.tolist(), nan_ok=True)
    for candidate in ("bgd", "adam"):  # adam has later seeds too, which must not count: it was decided
        first, later = short.verdict(candidate), long.verdict(candidate)
        assert (later.effect, later.quality, later.looks) == (first.effect, first.quality, first.looks)
        assert first.looks.index == 0


def test_looks_without_a_verdict_are_refused(workspace: Path) -> None:
    write_own(workspace)
    with pytest.raises(ConfigError, match=r"^evaluation\.looks must be left out if nothing is compared.*num_seeds=20"):
        Plan.of([compose_config(*OWN, BASELINE)])
    other = compose_config(*OWN[:-3], "evaluation.looks=[5,9]", BASELINE)
    with pytest.raises(ConfigError, match=r"^evaluation\.looks must be the same in all cells, not '\[5, 10, 20\], "):
        Plan.of([compose_config(*OWN, BASELINE), other])
