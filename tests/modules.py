"""The modules of evalbench, lowest first: a module imports only itself and modules above it in this table.

`cd tests && python modules.py` writes the table into `docs/architecture.md`, and draws `docs/architecture.svg`.
"""

import textwrap
from pathlib import Path

LAYERS = {
    "Values": {
        "errors": "the exception tree",
        "names": "names given by users, made safe for a line, Markdown, a file name and a CSV file",
        "interrupts": "Ctrl-C, SIGTERM and SIGHUP: one meaning, delayed while configurations are composed",
        "programs": "the entry of every program: it ignores the shell's special variables and ends with one line",
        "console": "what programs print: lines that fit a terminal, whole lines in a pipe, nothing with `--quiet`",
        "seeds": "every seed, a hash of (root, workload, phase, role, index): split, initial weights, order, noise",
        "trial": "frozen records: budget, trial and its identity, state, result",
        "tasks": "kinds of problems, one file each, and the registry of metrics (`metric.py`)",
        "provenance": "the machine, time and versions of a training",
        "gpus": "the CUDA devices of this process and of the jobs that it starts",
        "ranks": "the processes that train one cell together",
        "space": "search spaces: ranges and choices, by the keys that they replace",
        "own_code": "the user's own code behind a `_target_`, as hashes and versions",
    },
    "Configuration": {
        "config": "Hydra's tree as frozen typed values, read once; `parts.py`: the table of a technique's parts",
    },
    "Storage and trackers": {
        "processes": "Hydra jobs in processes forked from one server; groups of ranks; shares of the cores and GPUs",
        "store": "the source of truth in SQL: results, links, leases; `tables.py` is the schema",
        "tracking": "the contract of a tracker; W&B, TensorBoard, MLflow, trackio, CSV, in memory: one file each",
        "live": "the curves and the steps of trials in training, off the training path",
        "mirror": "the way from the store to trackers, each in a process of its own",
        "sync": "`evalbench sync`: send trackers the records that they lack",
        "imports": "runs that any program logged to a tracker, as a table; one file per source",
        "formats": "tables and logs that other programs write, recognized by their content; one file per program",
    },
    "Problems and networks": {
        "draws": "random numbers as a function of seed, step, user and row, the same bits on every device",
        "random_functions": "torch's random functions, answered from such a source",
        "workloads": "data, splits, scaling, reference rows; one file per source of data",
        "models": "plain `nn.Module`s for one trial, without knowledge of cohorts, and their initial values",
        "weights": "trained models on disk, loaded as a plain single model that predicts new rows",
        "parts": "parts of a technique that act in training, through the hooks of `hooks.py`; one file each",
    },
    "Engine": {
        "engine.allocation": "memory of large tensors that is kept from step to step",
        "engine.halving": "successive halving: the candidates that go on, within a cohort and among cohorts",
        "engine.batches": "the rows of every step of every member",
        "engine.operations": "the memory that recorded operations read and write",
        "engine.recomputation": "activations that a network computes again in the backward pass",
        "engine.tracing": "a function of tensors as a list of operations to replay, and the memory that it takes",
        "engine.attention": "attention of all members at once, by torch's fused kernels",
        "engine.noise": "random numbers inside a network, from a trial's own stream",
        "engine.objective": "the loss of a batch: of outputs, or of a LightningModule's own training step",
        "engine.schedules": "learning rates over the steps of a trial",
        "engine.counting": "parameters and FLOPs",
        "engine.state": "the tensors of C members: trained, carried from pass to pass, constant",
        "engine.construction": "what a constructor does to its tensors, to repeat it for C members",
        "engine.initial": "the initial tensors of C members, drawn at once",
        "engine.python_state": "the state that a network keeps in Python, outside its tensors",
        "engine.calls": "how an optimizer is called: with gradients, with a closure, told `train()` and `eval()`",
        "engine.kernels": "the implementation of an optimizer's update: fused, capturable, without its bookkeeping",
        "engine.instances": "instances of optimizer classes: made, scheduled, and the state that they keep",
        "engine.optimizers": "one optimizer step for C members",
        "engine.pruning": "an optimizer whose steps leave pruned weights at zero",
        "engine.one_by_one": "C networks, each run by plain PyTorch",
        "engine.paths": "how the steps of a cohort run, batched, lone or compiled, and the rule that chooses",
        "engine.compiled": "traced programs compiled by Inductor, in a folder for the user alone",
        "engine.steps": "the step of one trial, pure, and the same step for C members",
        "engine.members": "how members are trained, and the progress of each",
        "engine.guard": "the first steps of a user's network beside plain PyTorch: may it be batched?",
        "engine.networks": "all members' networks as one stack, and how they run",
        "engine.rows": "where inputs stay: on the device, or on the host, read ahead of the steps",
        "engine.data": "the rows of all members on the device: gather and scaling",
        "engine.validation": "loss, score and monitored metric on validation rows",
        "engine.gradients": "the gradient of a batch as a sum over micro-batches and ranks",
        "engine.graphs": "the optimizer step on tensors that stay in place, replayed as a CUDA graph",
        "engine.cohort": "the LightningModule of C stacked members",
        "engine.checkpoints": "a cohort on disk, to resume after a crash",
        "engine.memory": "the number of members that fit",
        "engine.profile": "a recorded validation interval: a trace, and the costliest operations",
        "engine.quantized": "trained members as quantized graphs, judged on their own predictions",
        "engine.training": "cohorts trained; results in member order",
        "engine.checks": "network, optimizer and trainer built once, to refuse wrong settings early",
    },
    "Engines": {
        "energy": "the joules that a GPU and the CPU take: NVML and RAPL",
        "engines": "what trains the trials of a cell, one file each behind one contract (`contract.py`)",
    },
    "Cells": {
        "cost": "the cost of a technique alone: seconds, joules and bytes, in interleaved rounds",
        "cell": "one technique on one workload: train the trials that the store lacks",
        "search": "Optuna's side of a search: ask, tell, resume, importance",
        "tuning": "the two phases of a searched cell: tune, then measure the best candidate beside the default",
    },
    "Judgment": {
        "statistics": "table → effects, intervals, tests, power, verdicts; pure functions",
        "record": "the folder of an evaluation, and any table of results: one schema, written and read",
        "report.render": "Markdown, units, style, HTML, the index of all reports",
        "report.analysis": "tables → findings: pairs, verdicts, robustness, cost, targets, tuning",
        "report.plots": "the figures of `report.html` as values for Plotly, one file each",
        "report.section": "the contract of a section: its need, text, tables and figures",
        "report.sections": "the sections of the page, one file each",
        "report.summary": "the findings as `summary.json`, for programs",
        "report.page": "the ordered list of sections",
        "report": "`judge`, `read` and `Report`: a report from a data frame or a folder",
        "comparison": "an evaluation against an earlier one; a gate for CI",
        "compare": "another spelling of `evalbench compare`",
        "radar": "all evaluations in one index, and a technology radar of what they say over time",
        "dashboard": "the W&B workspace and report of an evaluation",
    },
    "Evaluation": {
        "evaluation": "the plan of all cells, its checks, looks, run and end; without Hydra and without a console",
    },
    "Entry points": {
        "composition": "the edge to Hydra: jobs of a sweep, one line for a refusal",
        "api": "`evaluate`: an evaluation from Python",
        "predict": "`evalbench predict`: predictions of a saved model, by the names that people have for it",
        "convert": "`evalbench convert`: a saved network as files of other programs, which predict the same",
        "__init__": "the public names, imported when they are first used",
        "terminal": "Hydra's task and sweep, progress and time left, looks, summary, exit codes",
        "__main__": "the one command and its subcommands",
    },
}
MODULES = {name: purpose for layer in LAYERS.values() for name, purpose in layer.items()}
DOCS = Path(__file__).parents[1] / "docs"
PAGE, PICTURE = DOCS / "architecture.md", DOCS / "architecture.svg"
BEGIN, END = "<!-- modules: written by tests/modules.py -->\n", "<!-- end of modules -->\n"
WIDTH, LINE, LETTER = 900, 24, 8.0  # pixels: the picture, a line of names, a letter of a name


def table() -> str:
    """Return the table in Markdown, a headline per layer."""
    rows = ["| module | content |", "|---|---|"]
    for layer, modules in LAYERS.items():
        rows.append(f"| **{layer}** | |")
        rows += [f"| `{name.replace('.', '/')}` | {purpose} |" for name, purpose in modules.items()]
    return "\n".join(rows) + "\n"


def page() -> str:
    """Return the page with the table of today."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def picture() -> str:
    """Return the layers as an SVG, the highest on top: each uses the layers below it."""
    top, shapes = 10.0, []
    for layer, modules in reversed(LAYERS.items()):
        names = [name.removeprefix("engine.") for name in modules if not name.startswith("report.")]
        lines = textwrap.wrap("   ".join(names), int((WIDTH - 250) / LETTER), break_on_hyphens=False)
        height = LINE * len(lines) + 14
        shapes.append(f'<rect x="10" y="{top:g}" width="{WIDTH - 20}" height="{height}" rx="6" class="layer"/>')
        shapes.append(f'<text x="24" y="{top + height / 2 + 5:g}" class="title">{layer}</text>')
        for number, line in enumerate(lines):
            shapes.append(f'<text x="230" y="{top + LINE * (number + 1):g}" xml:space="preserve">{line}</text>')
        top += height + 8
    style = (
        ".layer{fill:#eef3f8;stroke:#7a93ad} text{font:13px monospace;fill:#1b2733} .title{font:bold 14px sans-serif}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:g}" role="img">'
    label = "<title>The layers of evalbench: each imports only layers below it</title>"
    white = f'<rect width="{WIDTH}" height="{top:g}" fill="white"/>'
    return "\n".join([head, label, f"<style>{style}</style>", white, *shapes, "</svg>", ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    PICTURE.write_text(picture(), encoding="utf-8")
