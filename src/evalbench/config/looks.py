"""The looks of an evaluation: the numbers of seeds after which it is judged, declared before the results."""

from collections.abc import Mapping

from evalbench.config.reader import Reader
from evalbench.errors import ConfigError

NUM_SEEDS = 10
"""Number of seeds if neither `num_seeds` nor `evaluation.looks` is given."""
KEYS = ("num_seeds", "evaluation.looks")


def read_looks(
    top: Reader, evaluation: Reader, overrides: Mapping[str, str], default: int = NUM_SEEDS
) -> tuple[int, ...]:
    """Take out `num_seeds`, which is one look, and `looks`, and return the looks in ascending order.

    A key of the command line counts although a file gives the other key. Without any it is one look at `default` seeds.
    Raises `ConfigError`, also if both keys stand
    in the same place.
    """
    given: dict[str, tuple[int, ...]] = {}
    if top.given("num_seeds"):
        given["num_seeds"] = (top.integer("num_seeds", least=1),)
    if evaluation.given("looks"):
        given["evaluation.looks"] = _looks(evaluation.rest.pop("looks"))
    chosen = {key: looks for key, looks in given.items() if key in overrides} or given
    if len(chosen) > 1:
        (num_seeds,) = given["num_seeds"]
        remedy = f"give one of them; num_seeds={num_seeds} is one look"
        raise ConfigError("num_seeds", "must be left out beside evaluation.looks", num_seeds, remedy)
    return next(iter(chosen.values()), (default,))


def _looks(value: object) -> tuple[int, ...]:
    whole = isinstance(value, list) and bool(value) and all(type(look) is int and look >= 2 for look in value)
    if not (isinstance(value, list) and whole and value == sorted(set(value))):
        rule = "must be a list of ascending whole numbers of at least 2"
        raise ConfigError("evaluation.looks", rule, value, "for example evaluation.looks=[5,10,20]")
    return tuple(value)
