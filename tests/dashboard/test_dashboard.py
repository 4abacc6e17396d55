from pathlib import Path

import pytest

from conftest import compose_config
from evalbench.dashboard import report, views, workspace
from evalbench.dashboard.__main__ import main
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.store import Store


@pytest.fixture
def url(workspace: Path) -> str:
    """Return the URL of a store with a planned evaluation of two techniques on two data sets."""
    url = f"sqlite:///{workspace}/store.sqlite"
    shared = ("evaluation.name=e", "evaluation.factor=optimizer", "evaluation.baseline=sgd", "tracker=wandb")
    configs = [
        compose_config(*shared, f"optimizer={optimizer}", f"dataset={dataset}")
        for optimizer in ("sgd", "adam")
        for dataset in ("iris", "diabetes")
    ]
    link(Plan.of(configs), Store(url), "command")
    return url


@pytest.mark.slow
def test_offline_runs_get_a_list_of_the_views(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["e", "--store", url]) == 0
    said = capsys.readouterr().out
    assert "e is mirrored offline: nothing was written" in said
    assert "iris: curves over epochs, grouped by technique with bands: val/accuracy, val/loss, train/loss" in said
    assert "diabetes: curves over epochs, grouped by technique with bands: val/r2, val/loss, train/loss" in said
    assert "parallel coordinates: technique, optimizer, dataset, lr, batch_size" in said
    assert "tables: verdicts, results" in said


def test_an_unknown_evaluation_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["f", "--store", url]) == 2
    assert capsys.readouterr().err == "error: the store has no evaluation 'f': it has e\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # wandb-workspaces' own warnings
def test_the_workspace_and_the_report_hold_the_views(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the views needs a key, but sends nothing to W&B."""
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    about = Store(url).description("e")
    assert about is not None
    shown = views("e", about)
    page = workspace(shown, "me", "evalbench")
    assert [section.name for section in page.sections] == ["Curves", "Parallel coordinates", "Verdicts"]
    curves = [(panel.x, panel.y) for panel in page.sections[0].panels]
    names = ("val/accuracy", "val/loss", "train/loss", "val/r2")
    assert curves == [("x/epoch", [name]) for name in names]
    assert {panel.groupby_rangefunc for panel in page.sections[0].panels} == {"minmax"}
    assert len(page.sections[1].panels[0].columns) == len(shown.settings) + len(shown.results)
    assert [panel.table_name for panel in page.sections[2].panels] == ["verdicts", "results"]
    assert page.runset_settings.filters == "Metric(\"Group\") == 'e'"
    assert [key.name for key in page.runset_settings.groupby] == ["dataset", "technique"]
    grids = [block for block in report(shown, "me", "evalbench").blocks if hasattr(block, "runsets")]
    assert [(len(grid.panels), grid.runsets[0].filters, grid.runsets[0].groupby) for grid in grids] == [
        (2, "Metric(\"Group\") == 'e' and Metric(\"JobType\") == 'evaluation'", []),
        (3, "Metric(\"Group\") == 'e' and Config(\"dataset\") == 'iris'", ["config.technique"]),
        (3, "Metric(\"Group\") == 'e' and Config(\"dataset\") == 'diabetes'", ["config.technique"]),
        (1, "Metric(\"Group\") == 'e' and Metric(\"JobType\") != 'evaluation'", []),
    ]


@pytest.mark.slow
def test_a_dead_address_gets_one_line(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "2")
    assert main(["e", "--store", url, "--entity", "me"]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "W&B did not take the dashboard of me/evalbench" in line
