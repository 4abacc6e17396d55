"""AlgoPerf's logs: `SUBMISSION/study_N/WORKLOAD_FRAMEWORK/trial_M/eval_measurements.csv`.

Source: scoring/scoring_utils.py and scoring/workload_targets_v05.json of mlcommons/submissions_algorithms.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from evalbench.errors import TableError
from evalbench.formats.reading import Document, Format, Imported, base_task, numeric

TARGETS = {
    "criteo1tb": ("loss", "minimize", 0.123735),
    "criteo1tb_embed_init": ("loss", "minimize", 0.129657),
    "fastmri": ("ssim", "maximize", 0.723653),
    "fastmri_tanh": ("ssim", "maximize", 0.71784),
    "finewebedu_lm": ("ppl", "minimize", 22.2995),
    "imagenet_resnet": ("accuracy", "maximize", 0.77431),
    "imagenet_resnet_large_bn_init": ("accuracy", "maximize", 0.76526),
    "imagenet_vit": ("accuracy", "maximize", 0.77309),
    "librispeech_conformer": ("wer", "minimize", 0.085884),
    "librispeech_conformer_layernorm": ("wer", "minimize", 0.09731),
    "librispeech_deepspeech": ("wer", "minimize", 0.119936),
    "ogbg": ("mean_average_precision", "maximize", 0.28098),
    "ogbg_model_size": ("mean_average_precision", "maximize", 0.269446),
    "wmt": ("bleu", "maximize", 30.8491),
    "wmt_glu_tanh": ("bleu", "maximize", 29.5779),
}
"""Of each workload the validation metric, its direction and the target of versions 0.5 and 1.0."""
MARK = {"accumulated_submission_time", "global_step", "preemption_count"}


def recognizes(document: Document) -> bool:
    """Return whether a file holds the evaluations of a trial."""
    return document.columns >= MARK


def read(documents: Sequence[Document]) -> Imported:
    """Return a row per evaluation: technique, workload, seed (the study), trial, time, step, score and target.

    The time is `accumulated_submission_time`, in which evaluations do not count.

    Raises:
        TableError: a path names no study, or a workload has no known target.
    """
    frame = pd.concat([_trial(document) for document in documents], ignore_index=True)
    said = (
        "the time is `accumulated_submission_time`, the targets are AlgoPerf's for the validation metric of each"
        " workload, and of a study the trial that reaches the target first counts",
    )
    return Imported(frame, said, {"unit": "study"}, curves=True)


def _trial(document: Document) -> pd.DataFrame:
    parts = document.path.resolve().parts
    study = next((index for index, part in enumerate(parts) if part.startswith("study_")), 0)
    if study < 1 or len(parts) < study + 4:
        raise TableError(
            f"{document.path} must lie in SUBMISSION/study_N/WORKLOAD/trial_M, as AlgoPerf's logs do: give its folder"
        )
    workload = base_task(parts[study + 1])
    if workload not in TARGETS:
        raise TableError(f"{document.path}: AlgoPerf has no target for workload {workload!r}: leave its files out")
    metric, direction, target = TARGETS[workload]
    column = f"validation/{metric}"
    if column not in document.columns:
        raise TableError(f"{document.path} has no column {column}, the target metric of {workload}")
    table = numeric(document.path.name, document.frame, ["accumulated_submission_time", "global_step", column])
    return pd.DataFrame(
        {
            "technique": parts[study - 1],
            "workload": workload,
            "seed": int(parts[study].removeprefix("study_")),
            "trial": parts[study + 2],
            "time": table["accumulated_submission_time"],
            "step": table["global_step"],
            "score": table[column],
            "direction": direction,
            "target": target,
        }
    )


ALGOPERF = Format("algoperf", "AlgoPerf's logs", recognizes, read)
