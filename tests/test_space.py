from typing import Any

import pytest

from conftest import compose_config
from evalbench import space
from evalbench.errors import ConfigError
from evalbench.space import Dimension, replaced, spanned


def test_a_tree_of_ranges_becomes_dimensions_by_the_keys_they_replace() -> None:
    tree = {
        "lr": {"low": 1e-4, "high": 0.1, "log": True},
        "betas": {"0": {"low": 0.8, "high": 0.99}},
        "batch_size": {"choices": [16, 32]},
        "taken_out": None,
    }
    assert space.parse(tree, "optimizer") == (
        Dimension("optimizer.lr", 1e-4, 0.1, log=True),
        Dimension("optimizer.betas.0", 0.8, 0.99),
        Dimension("optimizer.batch_size", choices=(16, 32)),
    )


@pytest.mark.parametrize(
    ("dimension", "points"),
    [
        (Dimension("x", 1e-4, 1.0, log=True), [1e-4, 1e-2, 1.0]),
        (Dimension("x", 0.0, 1.0), [0.0, 0.5, 1.0]),
        (Dimension("x", 16, 256, log=True, integer=True), [16, 64, 256]),
        (Dimension("x", 1, 2, integer=True), [1, 2]),
        (Dimension("x", choices=("a", "b")), ["a", "b"]),
    ],
)
def test_points_are_spaced_on_the_dimensions_own_scale(dimension: Dimension, points: list[object]) -> None:
    assert dimension.points(3) == pytest.approx(points)


@pytest.mark.parametrize(
    ("spec", "value", "bound"),
    [
        ({"low": 1e-4, "high": 1.0, "log": True}, 1e-4 * 10**0.19, "low"),
        ({"low": 1e-4, "high": 1.0, "log": True}, 1e-4 * 10**0.21, None),
        ({"low": 0.0, "high": 1.0}, 0.96, "high"),
        ({"low": 0.0, "high": 1.0}, 0.94, None),
        ({"choices": [16, 32]}, 16, None),
    ],
)
def test_within_five_percent_of_an_end_is_at_the_bound(spec: dict[str, object], value: float, bound: str) -> None:
    assert space.bound_of(spec, value) == bound


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("optimizer.space.lr.low=1", "optimizer.space.lr"),
        ("optimizer.space.lr.low=0", "optimizer.space.lr.low"),
        ("optimizer.space.lr.low=small", "optimizer.space.lr.low"),
        ("optimizer.space.lr=0.1", "optimizer.space.lr"),
        ("+optimizer.space.lr.steps=4", "optimizer.space.lr.steps"),
        ("optimizer.space.batch_size.choices=[16,16]", "optimizer.space.batch_size.choices"),
        ("+search.space.split.test={low: 0.1, high: 0.2}", "search.space"),
        ("search.num_candidates=1", "search.num_candidates"),
        ("search.development=1", "search.development"),
        ("search.objectives=[]", "search.objectives"),
        ("search.pruning={eta: 1, first_rung: 1}", "search.pruning.eta"),
    ],
)
@pytest.mark.slow
def test_a_range_that_cannot_be_searched_is_refused_by_its_key(override: str, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose_config("+search=random", override)
    assert refused.value.key == key


def test_a_space_is_no_part_of_a_trials_identity() -> None:
    plain, searched = compose_config(), compose_config("+search=random", "optimizer.space.lr.high=1")
    assert plain.optimizer == searched.optimizer
    assert plain.search is None
    assert searched.search is not None
    assert searched.search.space[0] == Dimension("optimizer.lr", 1e-4, 1.0, log=True)


def test_values_replace_keys_also_inside_lists() -> None:
    config = compose_config("optimizer=adam").with_values({"optimizer.betas.0": 0.5, "model.width": 8})
    assert config.optimizer.component.arguments["betas"] == [0.5, 0.999]
    assert config.model.arguments["width"] == 8
    with pytest.raises(ConfigError, match="must name keys"):
        compose_config("optimizer=sgd").with_values({"optimizer.momentum": 0.5})


def test_a_missing_key_is_refused_with_the_existing_keys() -> None:
    tree = {"optimizer": {"_target_": "x", "space": {}, "lr": 1, "betas": [0.9, 0.99]}}
    for path, remedy in (("optimizer.lrr", "there are lr, betas$"), ("optimizer.betas.2", "there are 0, 1$")):
        with pytest.raises(ConfigError, match=remedy):
            replaced(tree, {path: 2})
    with pytest.raises(ConfigError, match="has no parts"):
        replaced(tree, {"optimizer.lr.x": 2})


def test_spaces_are_spanned_by_a_space_that_holds_them_all() -> None:
    first: dict[str, dict[str, Any]] = {"lr": {"low": 1e-4, "high": 0.1, "log": True}, "batch": {"choices": [16, 32]}}
    second: dict[str, dict[str, Any]] = {
        "lr": {"low": 1e-2, "high": 10.0, "log": True},
        "batch": {"choices": [32, 64]},
        "width": {"low": 1, "high": 2},
    }
    assert spanned([first, second]) == {
        "lr": {"low": 1e-4, "high": 10.0, "log": True},
        "batch": {"choices": [16, 32, 64]},
        "width": {"low": 1, "high": 2},
    }
    assert spanned([first, {"lr": {"low": -1.0, "high": 1.0}}])["lr"] == {"low": -1.0, "high": 1.0}
    assert first["lr"]["high"] == 0.1


def test_a_search_can_add_dimensions_to_every_techniques() -> None:
    added = "++search.space.model.width={low: 16, high: 64, log: true, integer: true}"
    config = compose_config("+search=tpe", "optimizer=sgd", added)
    assert config.search is not None
    assert [dimension.path for dimension in config.search.space] == ["optimizer.lr", "model.width"]
