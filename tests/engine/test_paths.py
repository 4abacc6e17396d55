"""The paths of a step: batched, lone, compiled; the rule that chooses; the same numbers on each."""

import shutil
import stat
from pathlib import Path

import pytest
import torch

from conftest import make_cell
from evalbench import cell as cells
from evalbench.engine import compiled, paths, training
from evalbench.engine.paths import BATCHED, COMPILED, LARGE_BYTES, LONE
from evalbench.engine.tracing import trace
from evalbench.errors import ConfigError
from evalbench.store import Store
from evalbench.trial import TrialResult
from plain import train as train_plainly

SGD = ("optimizer=minibatch_sgd", "budget.epochs=3")
NETWORKS = {
    "mlp": ("dataset=wine", "model.width=16"),
    "cnn": ("dataset=digits", "model=cnn", "model.width=8", "optimizer.batch_size=200"),
    "transformer": ("dataset=wine", "model=encoder", "model.width=16", "model.dropout=0.1"),
    "dropout": ("dataset=wine", "model._target_=networks.Dropped", "~model.depth", "~model.width"),
    "batch norm": ("dataset=wine", "model._target_=networks.Normed", "~model.depth", "~model.width"),
}


def losses(result: TrialResult) -> list[float]:
    return [point.val_loss for point in result.curve]


@pytest.mark.parametrize(
    ("device", "several", "member_bytes", "path"),
    [
        ("cpu", True, LARGE_BYTES, BATCHED),
        ("cpu", True, LARGE_BYTES + 1, LONE),
        ("cpu", False, 1, LONE),
        ("cuda", True, LARGE_BYTES + 1, BATCHED),
        ("cuda", False, 1, LONE),
    ],
)
def test_the_rule(device: str, several: bool, member_bytes: int, path: str) -> None:
    assert paths.choose(device, several, lambda: member_bytes) == path


@pytest.mark.parametrize(
    ("overrides", "several"),
    [
        (("num_seeds=1",), False),
        (("num_seeds=2",), True),
        (("num_seeds=1", "+search=random", "+search.space.optimizer.lr={low: 0.1, high: 1}"), True),
    ],
)
def test_the_rule_knows_what_is_planned_not_what_trains(overrides: tuple[str, ...], several: bool) -> None:
    cell = make_cell("dataset=wine", "model.width=8", "budget.epochs=1", *overrides)
    assert paths.request(cell.config, 8, own_code=False).several is several
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert result.path["name"] == (BATCHED if several else LONE)


def test_a_large_step_runs_lone(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell("dataset=wine", "model.width=8", "budget.epochs=1", "num_seeds=2")
    monkeypatch.setattr(paths, "LARGE_BYTES", 1000)
    assert training.train(cell.config, cell.dataset, cell.entrants(0, 1))[1].path["name"] == LONE


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_paths_agree_with_each_other_and_with_a_plain_loop(network: str) -> None:
    results = {}
    for path in (BATCHED, LONE):
        cell = make_cell(*NETWORKS[network], *SGD, f"trainer.path={path}")
        results[path] = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))
        assert [losses(result) for result in results[path][1:]] == [
            losses(result) for result in training.train(cell.config, cell.dataset, cell.entrants(1, 2))
        ], "SGD gives the same bits in any cohort"
        assert losses(results[path][1]) == pytest.approx(train_plainly(cell, 1).val_losses, rel=2e-4, abs=1e-6)
    assert losses(results[LONE][1]) == pytest.approx(losses(results[BATCHED][1]), rel=2e-4, abs=1e-6)


@pytest.mark.parametrize("path", [BATCHED, LONE])
@pytest.mark.slow
def test_a_resumed_cohort_ends_with_the_same_bits_on_each_path(path: str, tmp_path: Path) -> None:
    cell = make_cell(*NETWORKS["mlp"], "budget.epochs=4", f"trainer.path={path}", "trainer.checkpoint_minutes=1e-9")
    whole = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    checkpoint = tmp_path / "cohort.pt"

    def interrupt(curves: object, first: int) -> None:
        if first == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(cell.config, cell.dataset, cell.entrants(0, 1), checkpoint, watch=interrupt)
    assert checkpoint.exists()
    resumed = training.train(cell.config, cell.dataset, cell.entrants(0, 1), checkpoint)
    assert (resumed, resumed[0].path) == (whole, {"name": path})


def test_a_forced_path_is_part_of_the_identity() -> None:
    names = [make_cell("dataset=wine", f"trainer.path={path}").id for path in ("auto", BATCHED, LONE, COMPILED)]
    assert len(set(names)) == 4
    assert names[0] == make_cell("dataset=wine").id


def test_an_unknown_path_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.path must be one of auto, batched, lone, compiled"):
        make_cell("dataset=wine", "trainer.path=fast")


def test_the_path_stands_in_the_provenance(tmp_path: Path) -> None:
    cell, store = make_cell("dataset=wine", "num_seeds=1", "budget.epochs=1"), Store(f"sqlite:///{tmp_path}/s.sqlite")
    cells.run(cell, store)
    (trial,) = store.trials(list(cell.specs)).values()
    assert trial.provenance["path"] == {"name": LONE}
    store.close()


@pytest.mark.slow
def test_networks_that_train_one_by_one_say_why() -> None:
    cell = make_cell("dataset=wine", "model._target_=networks.Branching", "~model.depth", "~model.width")
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert result.path["name"] == "one by one"
    assert "control flow" in result.path["reason"]


@pytest.mark.parametrize("network", ["HiddenTeacher", "MaskedRows", "Lstm"])
def test_a_network_that_cannot_be_batched_has_no_lone_path(network: str) -> None:
    """Autograd would run them, and a traced program would get their numbers wrong, or fail later."""
    own = ("dataset=wine", f"model._target_=peoples_networks.{network}", "~model.depth", "~model.width")
    cell = make_cell(*own, "trainer.path=lone", "trainer.verify=false", "budget.epochs=1", "num_seeds=2")
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert result.path["name"] == "one by one"


def test_compiled_programs_need_a_compiler_and_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled.check(False, tmp_path / "new" / "own")
    assert stat.S_IMODE((tmp_path / "new" / "own").stat().st_mode) == 0o700
    open_to_all, link = tmp_path / "open", tmp_path / "link"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    link.symlink_to(tmp_path / "new" / "own")
    for folder in (open_to_all, link):
        with pytest.raises(ConfigError, match=r"trainer\.compile_folder must be a folder that is yours"):
            compiled.check(False, folder)
    program = trace(lambda x: (x + 1,), (torch.zeros(2),))
    run, measured = compiled.made(program, (torch.zeros(2),), open_to_all)
    assert run is program
    assert "must be a folder that is yours" in measured["not_compiled"]
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"trainer\.path needs a C\+\+ compiler, and there is no no-such-compiler"):
        compiled.check(False, tmp_path / "new" / "own")


@pytest.mark.slow
def test_the_reason_is_the_line_that_names_the_error() -> None:
    nested = "An exception occurred in a subprocess:\n\nTraceback\n  File x\nOSError: the disk is full\n"
    assert compiled._reason(RuntimeError(nested)) == "OSError: the disk is full"
    assert compiled._reason(RuntimeError("no kernel\nmore")) == "no kernel"
    assert compiled._reason(KeyError()) == "KeyError"


@pytest.mark.skipif(shutil.which(compiled.compiler()) is None, reason="there is no C++ compiler")
@pytest.mark.slow
def test_a_compiled_cohort_agrees_with_a_traced_one(tmp_path: Path) -> None:
    """With dropout, whose numbers come from products of 64 bits that overflow; and batches of two sizes."""
    results = {}
    for path in (BATCHED, COMPILED):
        cell = make_cell(*NETWORKS["dropout"], *SGD, f"trainer.path={path}", f"trainer.compile_folder={tmp_path}/own")
        results[path] = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    assert results[COMPILED][0].path.keys() == {
        "name",
        "program",
        "step_bytes",
        "compiled_in_s",
        "compiled_us",
        "traced_us",
    }
    assert list((tmp_path / "own").iterdir())
    for traced, compiled_result in zip(results[BATCHED], results[COMPILED], strict=True):
        assert losses(compiled_result) == pytest.approx(losses(traced), rel=2e-4, abs=1e-6)
