"""Is technique A really better than technique B on my data, by how much, at what cost, and how sure am I?

`evaluate` trains a comparison and reports it, `judge` reports a table of results, `compare` sets an evaluation against
an earlier one, `load_weights` returns a trained network. Nothing heavy is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalbench.api import Evaluation, evaluate
    from evalbench.comparison import Comparison, compare
    from evalbench.report import Report, judge
    from evalbench.weights import load as load_weights

    __version__: str

__all__ = ["Comparison", "Evaluation", "Report", "__version__", "compare", "evaluate", "judge", "load_weights"]

_PUBLIC = {
    "Comparison": "evalbench.comparison:Comparison",
    "Evaluation": "evalbench.api:Evaluation",
    "Report": "evalbench.report:Report",
    "compare": "evalbench.comparison:compare",
    "evaluate": "evalbench.api:evaluate",
    "judge": "evalbench.report:judge",
    "load_weights": "evalbench.weights:load",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("evalbench-dl")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'evalbench' has no attribute {name!r}")
    module, attribute = _PUBLIC[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
