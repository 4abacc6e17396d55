import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import yaml

from conftest import compose_config
from evalbench.config import reader
from evalbench.config.looks import KEYS, read_looks
from evalbench.config.parts import Part
from evalbench.config.reader import Reader
from evalbench.errors import ConfigError
from evalbench.programs import conf_folder
from evalbench.terminal.command_line import add_multirun
from evalbench.trial import Budget

OPTIONS = [
    file
    for folder in sorted(conf_folder().iterdir())
    if folder.is_dir() and folder.name not in ("hydra", "sweep")
    for file in sorted(folder.glob("*.yaml"))
]
SWEEPS = sorted((conf_folder() / "sweep").glob("*.yaml"))


def missing(settings: object, key: str) -> list[str]:
    """Return the keys of settings that a user must give."""
    if not isinstance(settings, dict):
        return [key] if settings == "???" else []
    return [name for leaf, value in settings.items() for name in missing(value, f"{key}.{leaf}")]


@pytest.mark.parametrize("file", OPTIONS, ids=lambda file: f"{file.parent.name}={file.stem}")
@pytest.mark.slow
def test_every_shipped_option_is_accepted(file: Path, tmp_path: Path) -> None:
    group, name = file.parent.name, file.stem
    weights = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"weight": np.zeros(1)}, weights)
    values = {"model.weights": str(weights)}
    needed = [f"{key}={values.get(key, 'math.hypot')}" for key in missing(yaml.safe_load(file.read_text()), group)]
    wanted = f"+{group}={name}" if group == "search" else f"{group}={name}"  # absent by default
    assert compose_config(wanted, *needed).choices[group] == name


def test_values_arrive_typed() -> None:
    config = compose_config("optimizer=bgd", "budget=steps", "budget.steps=7", "seed=4")
    assert config.optimizer.batch_size == "full"
    assert config.optimizer.rows_per_step(123) == 123
    assert config.optimizer.component.arguments == {"lr": 0.1}
    assert config.budget == Budget(steps=7, validations=20)
    assert (config.root_seed, config.num_seeds) == (4, 10)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("num_seeds=0", "num_seeds"),
        ("num_seeds=true", "num_seeds"),
        ("seed=-1", "seed"),
        ("optimizer.batch_size=0", "optimizer.batch_size"),
        ("optimizer.batch_size=all", "optimizer.batch_size"),
        ("budget.epochs=1.5", "budget.epochs"),
        ("+budget.steps=3", "budget"),
        ("activation.gain=0", "activation.gain"),
        ("split.test=0", "split.test"),
        ("split.test=0.9", "split"),
        ("trainer.precision=16-mixed", "trainer.precision"),
        ("trainer.matmul_precision=tf32", "trainer.matmul_precision"),
        ("trainer.profile=1", "trainer.profile"),
        ("trainer.devices=2", "trainer.strategy"),
        ("trainer.devices=0", "trainer.devices"),
        ("trainer.split=rows", "trainer.split"),
        ("+trainer.num_nodes=2", "trainer.num_nodes"),
        ("+trainer.max_epochs=3", "trainer.max_epochs"),
        ("+trainer.fast_dev_run=true", "trainer.fast_dev_run"),
        ("+trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches"),
        ("trainer.strategy=fsdp", "trainer.strategy"),
        ("seed=9223372036854775808", "seed"),
        ("optimizer.lr=nan", "optimizer.lr"),
        ("optimizer.lr=abc", "optimizer.lr"),
        ("optimizer.betas=[inf,0.9]", "optimizer.betas.0"),
        ("optimizer=[sgd,adam]", "optimizer"),
        ("evaluation.name=a/b", "evaluation.name"),
        (f"evaluation.name={'x' * 101}", "evaluation.name"),
        ("dataset=csv", "dataset.path"),
        ("dataset._target_=nowhere.load", "dataset._target_"),
        ("+tracker.mine._target_=evalbench.trial.TRAINING_VERSION", "tracker.mine._target_"),
        ("+tracker._target_=mine.Tracker", "tracker._target_"),
        ("tracker.live=1", "tracker.live"),
        ("+surprise=1", "surprise"),
        ("+evaluation.margin=1", "evaluation.margin"),
        ("model.depth=${nothing}", "model.depth"),
    ],
)
@pytest.mark.slow
def test_a_wrong_value_is_refused_by_the_name_of_its_key(override: str, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose_config(override)
    assert refused.value.key == key


def test_a_refusal_names_rule_value_and_remedy() -> None:
    with pytest.raises(ConfigError, match=r"^num_seeds must be a whole number of at least 1, not 0: for example "):
        compose_config("num_seeds=0")


def test_a_key_of_the_command_line_counts_more_than_the_files_other_key() -> None:
    def looks(tree: dict[str, object], *overrides: str) -> tuple[int, ...]:
        evaluation = Reader({"looks": tree.pop("looks", None)}, "evaluation")
        return read_looks(Reader(tree, ""), evaluation, dict.fromkeys(overrides, ""))

    both = {"num_seeds": 7, "looks": [3, 9]}
    assert (looks({}), looks({"num_seeds": 7}), looks({"looks": [3, 9]})) == ((10,), (7,), (3, 9))
    assert looks(dict(both), "num_seeds") == (7,)
    assert looks(dict(both), "evaluation.looks") == (3, 9)
    for overrides in ((), KEYS):
        with pytest.raises(ConfigError, match=r"^num_seeds must be left out beside evaluation\.looks, not 7: give one"):
            looks(dict(both), *overrides)
    assert compose_config("evaluation.looks=[2,4]").num_seeds == 4


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_swept_values_are_strings_because_hydra_takes_a_list_for_one_value(file: Path) -> None:
    swept = yaml.safe_load(file.read_text())["hydra"]["sweeper"]["params"]
    assert swept
    assert all(isinstance(value, str) for value in swept.values())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["+sweep=grid", "seed=1"], ["--multirun", "+sweep=grid", "seed=1"]),
        (["+sweep=grid", "-m"], ["+sweep=grid", "-m"]),
        (["+sweep=grid", "--cfg", "job"], ["+sweep=grid", "--cfg", "job"]),
        (["seed=1"], ["seed=1"]),
    ],
)
def test_a_sweep_means_multirun(given: list[str], expected: list[str]) -> None:
    assert add_multirun(given) == expected


def test_a_target_is_ours_and_no_part_of_the_data() -> None:
    config = compose_config("dataset=iris", "dataset.target_score=0.9")
    assert config.target_score == 0.9
    assert config.dataset.spec() == compose_config("dataset=iris", "dataset.target_score=null").dataset.spec()
    assert "target_score" not in config.dataset.arguments


def test_the_rope_is_declared_by_unit() -> None:
    config = compose_config("evaluation.rope.skill=0.02", "+evaluation.rope.rmse=3")
    assert config.evaluation.rope == {"accuracy": 0.005, "skill": 0.02, "rmse": 3.0}


@pytest.mark.parametrize("unit", ["accuracy", "skill", "r2"])
def test_a_rope_above_a_tenth_of_the_span_must_be_confirmed(unit: str) -> None:
    wide = f"++evaluation.rope.{unit}=0.5"
    with pytest.raises(ConfigError, match=rf"a tenth of the span of {unit} \(1\), not 0\.5: .*confirm_rope=true"):
        compose_config(wide)
    assert compose_config(wide, "evaluation.confirm_rope=true").evaluation.rope[unit] == 0.5


def test_a_group_inside_a_group_is_set_by_its_keys() -> None:
    with pytest.raises(ConfigError, match=re.escape("not 0.5: give one of them, evaluation.rope.NAME=VALUE")):
        compose_config("evaluation.rope=0.5")


@pytest.mark.parametrize("override", ["evaluation.rope.accuracy=0", "dataset.target_score=good"])
def test_a_wrong_rope_or_target_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(override.split("=")[0])):
        compose_config(override)


def test_the_old_name_of_a_key_is_read_with_one_note(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_noted", set())
    for _ in range(2):
        search = compose_config("+search=random", "search.num_trials=7").search
        assert search is not None
        assert search.num_candidates == 7
    assert [record.message for record in caplog.records] == ["search.num_trials is now called search.num_candidates"]


def test_an_old_key_and_its_new_name_together_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"search.num_trials must be left out beside search.num_candidates"):
        compose_config("+search=random", "search.num_trials=7", "search.num_candidates=8")


def test_a_part_that_is_left_out_leaves_identities_as_they_were() -> None:
    assert Part("augmentation", Reader.component).identity(None) == {}
