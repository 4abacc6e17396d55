"""The configuration: Hydra's tree, read once into frozen typed values."""

from evalbench.config.activation import ActivationConfig
from evalbench.config.command import CommandConfig
from evalbench.config.component import ANYTHING, Component
from evalbench.config.compression import DistillationConfig
from evalbench.config.engines import COHORT, COMMAND
from evalbench.config.estimator import SEEDS, EstimatorConfig
from evalbench.config.loss import LossConfig
from evalbench.config.optimizer import OptimizerConfig
from evalbench.config.parts import PARTS
from evalbench.config.pretrained import PretrainedConfig
from evalbench.config.search import Pruning, SearchConfig
from evalbench.config.split import FOLDED, SplitConfig
from evalbench.config.tree import log_folder, parse, parse_plain
from evalbench.config.values import Config, EvaluationConfig, TrackerConfig

__all__ = [
    "ANYTHING",
    "COHORT",
    "COMMAND",
    "FOLDED",
    "PARTS",
    "SEEDS",
    "ActivationConfig",
    "CommandConfig",
    "Component",
    "Config",
    "DistillationConfig",
    "EstimatorConfig",
    "EvaluationConfig",
    "LossConfig",
    "OptimizerConfig",
    "PretrainedConfig",
    "Pruning",
    "SearchConfig",
    "SplitConfig",
    "TrackerConfig",
    "log_folder",
    "parse",
    "parse_plain",
]
