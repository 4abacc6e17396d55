"""The words of a report, each explained in a sentence: its last chapter, and the tooltips of the page."""

from __future__ import annotations

import re

from evalbench.report.render.markdown import markdown

GLOSSARY: dict[str, str] = {
    "ADOPT": "Use the technique: it is better, or as good and cheaper, and nothing speaks against it.",
    "TRIAL": "Try the technique where a mistake is cheap: the evidence is good, but something is missing.",
    "ASSESS": "Look closer at the technique: there is a gain and a price, so your own weights decide.",
    "HOLD": "Do not switch to the technique: there is no gain, or it is worse.",
    "OPEN": "The evidence is insufficient: the interval allows too much.",
    "INVALID": "The technique cannot be judged: results are missing, or test rows were used for choosing.",
    "baseline": "The technique that every other technique is compared with.",
    "effect": "The score of a technique minus that of the baseline, the mean over the data sets with equal weight.",
    "interval": (
        "The range of effects that the results allow. It leaves out the true effect no more often than its level says:"
        " a 95 % interval in 5 % of evaluations."
    ),
    "ROPE": "The region of practical equivalence: a smaller difference does not matter to you. Declared beforehand.",
    "skill": "(score − trivial) / (best possible − trivial), in percent: 0 is the trivial predictor, 100 is perfect.",
    "skill points": "Differences of skill, which puts metrics with different units on one scale from 0 to 100.",
    "trivial predictor": "The majority class, or the mean of the training rows: what a model without features says.",
    "linear model": "Logistic or ridge regression on the same splits: a reference outside the comparison.",
    "seed": "The number that draws a split, initial weights, the order of rows and noise. Techniques share it.",
    "trial": "One training, with one technique, data set and seed.",
    "look": "A number of seeds after which techniques are judged, declared before the results.",
    "new rows": "Rows of the same data sets that nobody has seen yet: the first verdict is about them.",
    "these rows": "The test rows of this evaluation and no others.",
    "other data sets": "Data sets like these: the second verdict tests whether the effect holds on average over them.",
    "Pareto front": "The techniques that no other technique beats in both quality and cost.",
    "cost": "The seconds of a training that has the machine for itself, measured in turns with all techniques.",
    "wins": "The pairs (same data set and seed) in which the technique scored better than the baseline.",
    "diverged": "A trial whose loss became infinite or undefined. It counts with the trivial predictor's score.",
}
"""Term -> its meaning."""


def table(page: str) -> str:
    """Return the terms that a page uses as a table in Markdown."""
    used = [[term, meaning] for term, meaning in GLOSSARY.items() if re.search(rf"\b{term}\b", page)]
    return markdown(["term", "meaning"], used, 2)
