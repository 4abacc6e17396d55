"""Weights & Biases: one run per trial, offline unless asked otherwise."""

from pathlib import Path
from typing import Literal

from evalbench.errors import ConfigError
from evalbench.tracking.tracker import Run

MODES = ("offline", "online", "disabled")


class WandbTracker:
    """Mirrors trials to W&B. A key comes from W&B's own login or environment alone."""

    def __init__(self, project: str, entity: str | None, mode: str, folder: str) -> None:
        if mode not in MODES:
            raise ConfigError("tracker.mode", "must be one of " + ", ".join(MODES), mode, "choose one of them")
        self.project, self.entity, self.mode, self.folder = project, entity, mode, Path(folder)

    def record(self, run: Run) -> None:
        """Write one run: its configuration, its curve against declared axes, its summary."""
        import wandb  # half a second: only where a run is written

        self.folder.mkdir(parents=True, exist_ok=True)
        mode: Literal["offline", "online", "disabled"] = self.mode  # type: ignore[assignment]
        settings = wandb.Settings(
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            save_code=False,
            console="off",
            silent=True,
        )
        with wandb.init(
            project=self.project,
            entity=self.entity,
            mode=mode,
            dir=str(self.folder),
            id=run.id,
            name=run.id,
            group=run.group,
            job_type=run.job_type,
            tags=list(run.tags),
            config=dict(run.config),
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=settings,
        ) as record:
            record.define_metric("epoch")
            record.define_metric("step")
            record.define_metric("train/*", step_metric="epoch")
            record.define_metric("val/*", step_metric="epoch")
            record.define_metric("val/loss", step_metric="epoch", summary="min")
            record.define_metric(run.score, step_metric="epoch", summary="max" if run.maximize else "min")
            for point in run.curve:
                record.log(dict(point))
            record.summary.update({key: value for key, value in run.summary.items() if value is not None})

    def close(self) -> None:
        """Nothing stays open between runs."""

    def how_to_see(self) -> str | None:
        """Return the commands that show the runs, or send them."""
        if self.mode == "disabled":
            return None
        if self.mode == "online":
            return f"W&B      project {'/'.join(filter(None, (self.entity, self.project)))}"
        runs = self.folder / "wandb"
        return (
            f"W&B      look at the runs: wandb leet {runs}\n         send them:        wandb sync {runs}/offline-run-*"
        )
