"""The looks of an evaluation at the terminal: a line for each."""

from rich.console import Console

from evalbench.console import say
from evalbench.evaluation.conclude import Outcome
from evalbench.names import one_line
from evalbench.report.analysis.looks import looks_taken
from evalbench.report.render.units import plural
from evalbench.report.sections.looks import decisions


class LookLines:
    """Prints each look once, whether it was taken now or by an earlier run."""

    def __init__(self, console: Console) -> None:
        self._console, self._printed = console, 0

    def tell(self, outcome: Outcome) -> None:
        """Print the looks that were not printed yet."""
        looks = None if outcome.report is None else looks_taken(outcome.report.findings)
        if looks is None:
            return
        for look in looks.looks[self._printed :]:
            seconds = sum(value for number, value in outcome.seconds.items() if number <= look.number)
            cost = f"{plural(look.num_trials, 'trial')} and {seconds:,.0f} s of training so far"
            line = f"{look.number} of {looks.num_looks}, {plural(look.num_seeds, 'seed')}, {cost}:"
            say(self._console, "Look", f"{line} {decisions(look, one_line)}")
        self._printed = len(looks.looks)
