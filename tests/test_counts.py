"""What is expensive is done once: parsing a configuration, hashing a trial, drawing a split."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Inline
from evalbench import trial, workloads
from evalbench.config import tree
from evalbench.workloads import splits

pytestmark = pytest.mark.slow
SMALL = (
    "optimizer=sgd,adam",
    "budget=steps",
    "budget.steps=4",
    "budget.validations=2",
    "cost.rounds=0",
    "tracker=none",
)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[Any]:
    """Return how often each is really done in this process."""
    counter: Counter[Any] = Counter()
    monkeypatch.setattr(workloads, "_loaded", {})  # data sets of other tests keep their splits

    def count(module: Any, name: str, key: Callable[..., Any]) -> None:
        real = getattr(module, name)

        def counted(*arguments: Any) -> Any:
            counter[key(*arguments)] += 1
            return real(*arguments)

        monkeypatch.setattr(module, name, counted)

    count(tree, "parse_plain", lambda *_: "parses")
    count(trial, "_digest", lambda *_: "hashes")
    count(splits, "_draw_split", lambda data, method, split, seed: ("split", data.name, split.validation, seed))
    return counter


def test_a_sweep_parses_each_cell_once(inline: Inline, counts: Counter[Any]) -> None:
    inline(*SMALL, "dataset=iris,wine", "num_seeds=2", "-m")
    num_cells, num_trials = 4, 8
    assert counts.pop("parses") <= num_cells + 1
    assert counts.pop("hashes") <= 2 * num_trials
    assert set(counts.values()) == {1}  # a split for each data set and seed
    assert len(counts) >= 4


def test_a_study_does_not_parse_the_configuration_for_each_candidate(inline: Inline, counts: Counter[Any]) -> None:
    inline(*SMALL, "dataset=iris", "num_seeds=1", "+search=random", "search.num_candidates=8", "-m")
    num_cells, num_trials = 2, 2 * (8 * 2 + 1 + 1)
    assert counts.pop("parses") <= num_cells + 1
    assert counts.pop("hashes") <= 3 * num_trials
    assert set(counts.values()) == {1}
