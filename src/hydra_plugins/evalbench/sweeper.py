"""Hydra's door to an evaluation: compose and check all cells before any is launched, write the report last."""

# Hydra runs this module before it is in sys.modules: no `from __future__ import annotations` beside a dataclass.
from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class EvaluationSweeperConf:
    """The sweeper's configuration: the swept values, strings in Hydra's grammar."""

    _target_: str = "hydra_plugins.evalbench.sweeper.EvaluationSweeper"
    params: dict[str, str] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="evalbench", node=EvaluationSweeperConf, provider="evalbench")


class EvaluationSweeper(Sweeper):
    """Runs the full grid of the swept values as an evaluation, with the chosen launcher."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember Hydra's context and make the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the evaluation that the sweep file and the command line describe."""
        from evalbench.terminal import hydra_app  # keeps --help and completion quick

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        hydra_app.run_sweep(self.hydra_context.config_loader, self.config, self.launcher, self.params, arguments)
