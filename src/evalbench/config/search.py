"""How hyperparameters are searched: the `search` group of the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

from evalbench import space
from evalbench.config.component import Component
from evalbench.config.engines import uses
from evalbench.config.parts import PARTS
from evalbench.config.reader import Reader
from evalbench.errors import ConfigError
from evalbench.space import Dimension


@dataclass(frozen=True)
class Pruning:
    """Successive halving: at each rung the worst candidates end, and one in `eta` continues."""

    eta: int
    first_rung: int
    """The validation after which candidates are first compared; each later rung is `eta` times the one before."""

    def spec(self) -> dict[str, int]:
        """Return the part of a tune trial's identity."""
        return {"eta": self.eta, "first_rung": self.first_rung}

    def is_rung(self, validation: int) -> bool:
        """Return whether candidates are compared after a validation, counted from 1."""
        rung = self.first_rung
        while rung < validation:
            rung *= self.eta
        return rung == validation

    def rungs(self, validations: int) -> list[int]:
        """Return the validations after which candidates are compared, of trials with that many validations."""
        return [validation for validation in range(1, validations) if self.is_rung(validation)]


@dataclass(frozen=True)
class SearchConfig:
    """How every technique's hyperparameters are searched on every workload."""

    sampler: Component
    num_candidates: int
    """Candidates of a study."""
    num_seeds: int
    """Trials per candidate, whose mean judges it."""
    num_studies: int
    development: float
    """The share of the rows that the search sees; measured trials are tested on the rest."""
    batch: int | None
    """Number of candidates asked for at once; None: up to a cap."""
    objectives: tuple[str, ...]
    """The objectives, the first one decides; empty: the workload's own metric on validation rows."""
    pruning: Pruning | None
    storage: str | None
    """Optuna's storage; None: next to the store."""
    runs_up_to: int
    """Largest number of trials of a study for which a tracker gets a run per trial, not one for the study."""
    space: tuple[Dimension, ...]
    """The technique's own dimensions, and those that the search adds to all techniques."""


def read_search(section: Reader, dimensions: Sequence[Dimension], engine: str) -> SearchConfig:
    """Read the section, given the dimensions of the technique's own search space; raise `ConfigError`.

    Dimensions that all techniques get are left out if they are of a part that the engine does not train with.
    """
    section.rename("num_trials", "num_candidates")
    added = space.parse(section.rest.pop("space", None), "")
    merged = tuple({dimension.path: dimension for dimension in (*dimensions, *added)}.values())
    _check_groups(merged)
    merged = tuple(dimension for dimension in merged if uses(engine, dimension.path.split(".")[0]))
    if not merged:
        rule = "must have at least one dimension to search"
        remedy = "give the technique's YAML a space, or add +search.space.model.width={low: 16, high: 256, log: true}"
        raise ConfigError("search.space", rule, remedy=remedy)
    development = section.positive("development", 0.7)
    if development >= 1:
        raise ConfigError("search.development", "must leave rows for the test", development, "for example 0.7")
    search = SearchConfig(
        sampler=section.section("sampler").component(),
        num_candidates=section.integer("num_candidates", least=2),
        num_seeds=section.integer("num_seeds", least=1),
        num_studies=section.integer("num_studies", least=1),
        development=development,
        batch=section.integer("batch", least=1) if section.given("batch") else None,
        objectives=_objectives(section),
        pruning=_pruning(section.section("pruning")) if section.given("pruning") else None,
        storage=section.optional_text("storage"),
        runs_up_to=section.integer("runs_up_to", least=0),
        space=merged,
    )
    section.finish()
    if search.pruning is not None and search.batch == 1:
        rule = "must be above 1 if candidates are pruned"
        raise ConfigError("search.batch", rule, search.batch, "candidates of a batch compete: raise it")
    if search.pruning is not None and len(search.objectives) > 1:
        rule = "must be null with more than one objective"
        raise ConfigError("search.pruning", rule, search.pruning.spec(), "halving needs one order of the candidates")
    return search


def _check_groups(space: Sequence[Dimension]) -> None:
    groups = [part.group for part in PARTS]
    for dimension in space:
        if dimension.path.split(".")[0] not in groups:
            rule = f"must be about {', '.join(groups)}"
            raise ConfigError("search.space", rule, dimension.path, "every technique must meet the same problem")


def _objectives(section: Reader) -> tuple[str, ...]:
    if not section.given("objectives"):
        return ()
    names = section.rest.pop("objectives")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        rule = "must be a list of names"
        raise ConfigError("search.objectives", rule, names, "for example [val/log_loss,cost/step_seconds]")
    if len(set(names)) < len(names):
        raise ConfigError("search.objectives", "must differ from each other", names, "remove the repeated name")
    return tuple(names)


def _pruning(section: Reader) -> Pruning:
    pruning = Pruning(section.integer("eta", least=2), section.integer("first_rung", least=1))
    section.finish()
    return pruning
