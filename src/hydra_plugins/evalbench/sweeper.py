"""Hydra's door to an evaluation: all cells are composed and checked before any is launched, the report comes last."""

# Hydra runs this module before it is in sys.modules: no `from __future__ import annotations` beside a dataclass.
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class EvaluationSweeperConf:
    """The sweeper's configuration: the swept values, strings in Hydra's grammar."""

    _target_: str = "hydra_plugins.evalbench.sweeper.EvaluationSweeper"
    params: dict[str, str] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="evalbench", node=EvaluationSweeperConf, provider="evalbench")


class EvaluationSweeper(Sweeper):
    """The full grid of the swept values, as one evaluation, through whatever launcher is chosen."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember Hydra's context and make the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the evaluation that the sweep file and the command line describe."""
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        from evalbench import terminal
        from evalbench.interrupts import held_back

        assert self.hydra_context is not None
        assert self.config is not None
        config, loader = self.config, self.hydra_context.config_loader
        swept = [f"{key}={value}" for key, value in self.params.items()]
        overrides = OverridesParser.create(config_loader=loader).parse_overrides([*swept, *arguments])
        (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        name = terminal.evaluation_name(config.evaluation.name, arguments)
        jobs = [[*(text for text in job if not text.startswith("evaluation.name=")), name] for job in jobs]
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "multirun.yaml")

        def compose(job: list[str]) -> DictConfig:
            with held_back():
                return loader.load_sweep_config(config, list(job))

        launcher = self.launcher
        assert launcher is not None
        warm_up = getattr(launcher, "warm_up", None)

        def launch(numbers: Sequence[int]) -> Sequence[JobReturn]:
            return launcher.launch([jobs[number] for number in numbers], initial_job_idx=0)

        return terminal.run_sweep(map(compose, jobs), launch, warm_up)
