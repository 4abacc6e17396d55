"""How rows are divided: the `split` group of the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalbench.config.reader import Reader
from evalbench.config.search import SearchConfig
from evalbench.errors import ConfigError

FOLDED = ("kfold", "repeated_kfold")
METHODS = ("auto", "random", "stratified", "group", "time", "predefined", *FOLDED, "fixed")


@dataclass(frozen=True)
class SplitConfig:
    """The method that divides the rows for each seed, and shares of all rows; the rest is for training."""

    validation: float
    test: float
    """Under a search all rows outside the development part; one fold of several; 0 if the data set gives them."""
    method: str = "auto"
    folds: int | None = None
    """The number of folds, of a method in `FOLDED`."""

    @property
    def num_seeds(self) -> int | None:
        """Return the number of seeds that the method needs for its one round; None if any number will do."""
        return self.folds if self.method == "kfold" else None

    @property
    def declared(self) -> dict[str, Any]:
        """Return the shares of the rows, and the method unless it is the default, for the evaluation's folder."""
        parts = {"train": round(1 - self.validation - self.test, 10), "validation": self.validation, "test": self.test}
        if self.method == "predefined":
            parts = {"validation": self.validation}
        method = {} if self.method == "auto" else {"method": self.method}
        return {**parts, **method, **({} if self.folds is None else {"folds": self.folds})}


def read_split(section: Reader, search: SearchConfig | None) -> SplitConfig:
    """Read the section; raise `ConfigError`, also for a method that cannot be searched with."""
    method = section.choice("method", METHODS) if section.given("method") else "auto"
    validation, folds, test = section.positive("validation", 0.2), None, 0.0
    if method in FOLDED:
        folds = section.integer("folds", least=2, remedy="for example split.folds=5")
        test = 1 / folds
    elif method != "predefined":
        test = section.positive("test", 0.2)
    section.finish()
    if search is not None:  # the rows outside the development part are the test rows of every trial
        if method in FOLDED:
            rule = "must be another method with a search, which tests all its trials on the same rows"
            raise ConfigError("split", rule, method, "leave out the search, or the split")
        test = round(1 - search.development, 10)
    if validation + test >= 1:
        remedy = "make split.validation smaller" if folds else "make validation + test less than 1"
        raise ConfigError("split", "must leave rows for training", validation + test, remedy)
    return SplitConfig(validation, test, method, folds)


def check_repetitions(split: SplitConfig, num_seeds: int, variance: Mapping[str, int] | None) -> None:
    """Refuse more seeds than folds, and a variance design over folds; raise `ConfigError`."""
    if split.num_seeds is not None and num_seeds > split.num_seeds:
        rule = f"must be at most split.folds={split.folds}, because each seed is tested on a fold of its own"
        remedy = f"give num_seeds={split.folds}, or split=repeated_kfold"
        raise ConfigError("num_seeds", rule, num_seeds, remedy)
    if split.folds is not None and variance is not None:
        rule, remedy = "must be false with folds, which are not drawn independently", "say split=auto"
        raise ConfigError("evaluation.variance", rule, split.method, remedy)
