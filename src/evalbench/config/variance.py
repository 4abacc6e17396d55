"""The variance design: the number of levels of each source of noise, all of whose combinations are trained."""

from collections.abc import Mapping

from evalbench.config.reader import Reader
from evalbench.errors import ConfigError
from evalbench.seeds import SOURCES

LEVELS = 6
LEAST = 3
"""With two levels of a source, its variance has one degree of freedom: no interval of it would be of use."""


def read_variance(evaluation: Reader, searched: bool) -> dict[str, int] | None:
    """Take out `variance`: true, a number of levels, or that of some sources; return the levels of each source.

    Returns None if it is false or not given. Raises `ConfigError`, also if hyperparameters are searched.
    """
    value = evaluation.rest.get("variance")
    if value is None or value is False:
        evaluation.rest.pop("variance", None)
        return None
    if searched:
        rule, remedy = "must be false with a search", "give the chosen hyperparameters as settings, without the search"
        raise ConfigError("evaluation.variance", rule, value, remedy)
    if value is True:
        evaluation.rest["variance"] = LEVELS
    if isinstance(value, Mapping):
        section = evaluation.section("variance")
        levels = {name: section.integer(name, LEAST) if section.given(name) else LEVELS for name in SOURCES}
        section.finish()
        return levels
    remedy = f"for example evaluation.variance=true, which is {LEVELS} levels of each of {', '.join(SOURCES)}"
    return dict.fromkeys(SOURCES, evaluation.integer("variance", LEAST, remedy))
