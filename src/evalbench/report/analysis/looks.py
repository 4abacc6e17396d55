"""The looks of an evaluation: what each of them decided, and the trials that they saved."""

from __future__ import annotations

from dataclasses import dataclass

from evalbench.record.folder import Folder, TunedFolder
from evalbench.report.analysis.findings import Findings, judged
from evalbench.statistics.judging import Verdict


@dataclass(frozen=True)
class LookTaken:
    """One look; `stopped` and `open` are the verdicts on the candidates that ended there, and that went on.

    `unjudged` are candidates without a verdict, since they failed: their last seeds are those of this look.
    """

    number: int  # from 1
    num_seeds: int
    num_trials: int  # so far
    stopped: tuple[Verdict, ...]
    open: tuple[Verdict, ...]
    unjudged: tuple[str, ...]
    next_seeds: int | None  # of the next look; None at the last one


@dataclass(frozen=True)
class LooksTaken:
    """All looks so far."""

    looks: tuple[LookTaken, ...]
    num_looks: int  # declared
    num_planned: int  # trials if no technique stopped

    @property
    def interim(self) -> bool:
        """Return whether a candidate is open and has another look."""
        last = self.looks[-1]
        return bool(last.open) and last.next_seeds is not None

    @property
    def num_trials(self) -> int:
        """Return the number of trials so far."""
        return self.looks[-1].num_trials


def looks_taken(findings: Findings) -> LooksTaken | None:
    """Return the looks of an evaluation that declared more than one; None for any other."""
    compared, folder = judged(findings), findings.folder
    declared = findings.evaluation.looks
    if compared is None or len(declared) == 1:
        return None
    seeds = {technique: folder.num_seeds(technique) for technique in findings.evaluation.techniques}
    counts = {technique: _count_trials(folder, technique, declared[-1]) for technique in seeds}
    verdicts = compared.judged.verdicts
    unjudged = seeds.keys() - {compared.judged.baseline, *(v.challenger for v in verdicts)}
    looks = []
    for index, num_seeds in enumerate(declared[: declared.index(max(seeds.values())) + 1]):
        ended = {v.challenger for v in verdicts if v.looks.stopped is not None and v.looks.index <= index}
        looks.append(
            LookTaken(
                index + 1,
                num_seeds,
                sum(_count_trials(folder, technique, num_seeds) for technique in seeds),
                tuple(v for v in verdicts if v.challenger in ended and v.looks.index == index),
                tuple(v for v in verdicts if v.challenger not in ended),
                tuple(name for name, last in seeds.items() if name in unjudged and last == num_seeds),
                declared[index + 1] if index + 1 < len(declared) else None,
            )
        )
    planned = sum(round(counts[technique] / seeds[technique] * declared[-1]) for technique in seeds)
    return LooksTaken(tuple(looks), len(declared), planned)


def _count_trials(folder: Folder, technique: str, num_seeds: int) -> int:
    """Return the number of a technique's trials below a number of seeds, those at untuned settings included."""
    tables = [folder.results, folder.defaults.results] if isinstance(folder, TunedFolder) else [folder.results]
    return sum(int(((table["technique"] == technique) & (table["seed"] < num_seeds)).sum()) for table in tables)
