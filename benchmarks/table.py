"""Show all measurements of a folder in words and tables: `python -m benchmarks.table RECORDS [PAGE]`."""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import aims, records, steps
from benchmarks.aims import Records
from benchmarks.chapters import Chapter, markdown, show, spread
from benchmarks.records import Circumstances, Record
from benchmarks.rounds import Timing, ratios
from benchmarks.steps import Steps

TOLERANCE = 0.01
"""Largest difference of the mean test accuracy over the same seeds; only the order of sums differs."""
OWN_DRAWS = {"scikit_learn": 0.06, "ictonyx": 0.06}
"""The limits for peers that draw weights and order by themselves and are tested at the end."""
SETTLED = 500
"""Steps after which an accuracy hardly depends on the draws, so that these peers can be compared."""
HEAD = ("engine", "threads", "rounds", "trials/s", "µs/step", "× (a)", "× (b)", "of bound", "accuracy")
NOTES = (
    "**trials/s**: trials trained, validated and tested per second, median over the rounds (lowest–highest).",
    "**µs/step**: this time per optimizer step and trial, everything included.",
    "**× (a)**, **× (b)**: speed relative to Lightning + Hydra and to the bare PyTorch loop: the median of the ratios "
    "within the rounds (lowest–highest).",
    "**of bound**: the speed relative to the least time that the machine allows: every matrix product of forward "
    "and backward pass as one `torch.bmm` over the cohort, measured alone, plus the optimizer's bytes at measured "
    "memory speed, on a CUDA device without launches. Activations, loss, scaling, validation and Python are not "
    "counted, so nothing reaches 1.",
    "**compiled**: a cohort with `trainer.path=compiled`; its warm-up, which compiles, is not counted.",
    "**threads**: intra-op threads: 1 or all cores, the faster number in a warm-up of each engine.",
    "**accuracy**: mean test accuracy over the engine's trials; (a) to (d), (g), (h) and evalbench have the same "
    f"initial weights, rows and order, and must agree within {TOLERANCE} over the seeds that they share; (e) and (f) "
    "draw weights and order by themselves and are tested at the end, and must agree within 0.06 if there are at least "
    f"{SETTLED} steps.",
    "Peer (f) trains one seed after another, on one split, with a loop and DataLoaders of its own. Peer (g) captures "
    "the step of (b) once and replays it for all trials. Peer (h) trains many networks at once, without replay.",
    "A *cohort* is `training.train`: splits, networks, training, validation, test metrics. A *whole cell* is the "
    "work of a sweep for one cell: compose, plan, check, link, train, reference rows, store; no tracker, no report. A "
    "*whole sweep* is the command line from its start to its report, imports, cells side by side in processes of one "
    "thread, reference rows and isolated costs included; no tracker.",
    "Peer (a) follows the common Lightning+Hydra template: a multirun with the basic launcher, a Trainer with "
    "ModelCheckpoint, EarlyStopping and CSVLogger per trial, torchmetrics, DataLoaders in the same process, the best "
    "checkpoint tested. Peer (b) keeps the data as tensors, indexes batches and uses the fused optimizer.",
    "Starting processes and importing libraries is in no number but the whole sweep's, nor is the first, warm-up "
    "use of an engine.",
)


def chapters(records: Records, step_record: Steps | None = None) -> list[Chapter]:
    """Return all chapters."""
    circumstances = [record.circumstances for record in records.values()]
    circumstances += [step_record.circumstances] if step_record is not None else []
    if not circumstances:
        return [Chapter("evalbench and its peers", ("Nothing was measured.",))]
    opening = (*_circumstances(circumstances), *_disagreement_lines(records))
    pages = [
        Chapter("evalbench and its peers", opening),
        aims.chapter(records, step_record, circumstances[0].device),
        *(steps.chapters(step_record) if step_record is not None else ()),
        *(_breakdown(record) for record in records.values() if record.breakdown),
        *(_timings(record) for record in records.values() if record.timings),
    ]
    left_out = tuple(f"{record.work}: {record.reason}" for record in records.values() if record.reason)
    if left_out:
        pages.append(Chapter("Left out", left_out))
    return [*pages, Chapter("Meaning of the numbers", NOTES)]


def disagreements(records: Records) -> list[str]:
    """Return a sentence for each engine that missed the bare loop's accuracy on the same seeds."""
    sentences = []
    for record in records.values():
        reference = record.timings["loop"].accuracies if "loop" in record.timings else {}
        for timing in record.timings.values():
            shared = timing.accuracies.keys() & reference.keys()
            own_draws = timing.engine.key in OWN_DRAWS
            if not shared or (own_draws and record.num_steps < SETTLED):
                continue
            reached, expected = (
                statistics.fmean(values[s] for s in shared) for values in (timing.accuracies, reference)
            )
            if not abs(reached - expected) <= OWN_DRAWS.get(timing.engine.key, TOLERANCE):
                sentences.append(
                    f"{record.work}: {timing.engine.label} reached {reached:.4f}, the bare loop {expected:.4f}"
                )
    return sentences


def _breakdown(record: Record) -> Chapter:
    total = sum(record.breakdown.values())
    rows = tuple((name, f"{seconds:.3f}", f"{seconds / total:.1%}") for name, seconds in record.breakdown.items())
    line = f"One more run of the largest whole cell of {record.work}, with timers around the parts: {total:.2f} s."
    return Chapter("Where the time goes", (line,), ("part", "seconds", "share"), rows)


def _timings(record: Record) -> Chapter:
    rows, lines = [], [f"{record.num_steps} steps per trial: `{record.overrides}`"]
    for timing in record.timings.values():
        if timing.reason is not None:
            lines.append(f"{timing.engine.label}: {timing.reason}")
            continue
        if not timing.seconds:
            lines.append(f"{timing.engine.label}: the bench ended before its first round")
            continue
        per_step = 1e6 / statistics.median(timing.rates) / record.num_steps
        against = (_against(timing, record.timings[peer]) for peer in ("lightning", "loop"))
        bound = spread(timing.bound_shares) if timing.bound_seconds else ""
        rows.append(
            (
                *(timing.engine.label, str(timing.threads), str(len(timing.seconds)), spread(timing.rates)),
                *(f"{per_step:.3g}" if per_step < 10 else f"{per_step:.0f}", *against, bound),
                f"{timing.accuracy:.4f}",
            )
        )
    sweep = record.timings.get("sweep")
    if sweep is not None and sweep.seconds:
        lines.append(f"{sweep.engine.label}: {spread(sweep.seconds)} s from the start of the command to the report")
    title = f"A whole sweep of {record.work}" if record.part == "sweep" else record.work
    return Chapter(title, tuple(lines), HEAD, tuple(rows))


def _against(timing: Timing, peer: Timing) -> str:
    values = [] if timing is peer or peer.reason else ratios(timing, peer)
    return spread(values) if values else ""


def _circumstances(measured: Sequence[Circumstances]) -> tuple[str, ...]:
    commands = dict.fromkeys(f"`{each.command}`, {each.date}" for each in measured)
    machines = dict.fromkeys(each.machine for each in measured)
    versions = dict.fromkeys(each.versions for each in measured)
    return (
        f"Command: {'; '.join(commands)}",
        f"Machine: {'; '.join(machines)}",
        f"Versions: {'; '.join(versions)}",
    )


def _disagreement_lines(records: Records) -> tuple[str, ...]:
    sentences = disagreements(records)
    return tuple(f"THE ENGINES DISAGREE: {text}" for text in sentences) or (
        "The engines agree on the test accuracies.",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page and write it; return 1 if the engines disagree on the test accuracies."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("records", type=Path, help="the folder of the records")
    parser.add_argument("page", type=Path, nargs="?", help="the Markdown file to write")
    chosen = parser.parse_args(arguments)
    measured = records.read(chosen.records)
    pages = chapters(measured, steps.read(chosen.records))
    show(Console(), pages)
    print(*_disagreement_lines(measured), sep="\n")
    if chosen.page is not None:
        chosen.page.write_text(markdown(pages))
    return 1 if disagreements(measured) else 0


if __name__ == "__main__":
    raise SystemExit(main())
