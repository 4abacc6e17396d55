"""Every command of the README, of CONTRIBUTING.md and of `docs/` is run, shortened, checked, or parsed with a reason.

A command that is in none of the tables below fails `test_every_command_is_in_one_table`.
"""

import argparse
import importlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

import evalbench
import tagged
import test_how_to_add
import tiny_models
from conftest import compose_config
from contracts.tracker import RUN
from evalbench import Evaluation, evaluate
from evalbench.__main__ import COMMANDS, main
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.report import __main__ as report_command
from evalbench.report.render import style
from evalbench.store import Store
from evalbench.terminal import hydra_app
from evalbench.tracking.tensorboard import TensorBoardTracker
from evalbench.workloads import Dataset, Kind

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = "num_seeds=2 budget.epochs=1 tracker=none cost.rounds=0"
FASTER = f"{SMALL} optimizer=sgd,adam"

AS_WRITTEN = {
    "evalbench --help",
    "evalbench radar",
    "evalbench radar --since 2026-10-01",
    "evalbench radar --from theirs/reports",
    "evalbench sync",
    "evalbench dashboard optimizers",
    "evalbench predict mine/mlp new.csv --output predictions.csv",
    "evalbench convert mine/mlp --to torch-export",
    "evalbench report --from tensorboard runs --baseline sgd",
    "evalbench compare old/results.csv new/results.csv --gate",
    "evalbench judge results.csv --baseline adam",
    "evalbench judge results.csv --baseline adam --out reports/mine",
    "evalbench judge credit.csv --baseline old --out reports/credit",
    "evalbench judge 'runs/*.json' --baseline rf --unit fold",
    "evalbench judge runs.csv --baseline base --require loss:not-worse:0.002 time:better",
    "evalbench judge losses.csv --against 3.28",
    "evalbench judge --curves curves.csv --target 0.9 --baseline sgd",
    "evalbench judge steps.csv --protocol algoperf --map study=seed seconds=step",
    "evalbench judge --curves steps.csv",
    "evalbench judge demsar_auc.csv --wide --metric auc --baseline C4.5 --rope 0.01",
    "evalbench judge amlb_auc.csv --wide --metric auc --baseline randomforest",
    "mkdir -p mine/optimizer",
    "mkdir -p mine/model",
    r"printf '_target_: torch.optim.NAdam\nlr: 0.002\nbatch_size: 32\n' > mine/optimizer/nadam.yaml",
    "echo '_target_: nets.Net' > mine/model/net.yaml",
}

SHORTENED = {  # the settings that are put in place of the page's
    "evalbench": SMALL,
    "evalbench +sweep=depths": f"{SMALL} model.depth=1,2 model.width=8 dataset=iris",
    "evalbench +sweep=datasets": f"{SMALL} dataset=iris",
    "evalbench +sweep=grid": f"{SMALL} dataset=iris activation=relu,tanh optimizer=adam,momentum model.depth=1",
    "evalbench +sweep=optimizers optimizer=sgd,adam,adamw dataset=csv dataset.path=my.csv evaluation.name=mine": FASTER,
    "evalbench --config-dir mine -m model=mlp,net dataset=iris,wine": f"{SMALL} dataset=iris",
    "evalbench -m model=mlp,random_forest dataset=csv dataset.path=my.csv evaluation.name=mine save=best": SMALL,
    "evalbench dataset=csv dataset.path=my.csv budget.epochs=10": "tracker=none",
    "evalbench -m optimizer=sgd,adam dataset=diabetes task._target_=quantiles.Quantiles": SMALL,
    "evalbench dataset=digits model.width=256 save=all weights=teachers evaluation.name=teachers": SMALL,
}
SAYS = {  # words that are printed, or in the report
    "evalbench --help": [
        *("evalbench +sweep=optimizers", "optimizer: adam, adamw, bgd", "num_seeds: null", "--config-dir"),
        *(f"evalbench {name} " for name in COMMANDS),
    ],
    "evalbench radar": ["reports/radar.html: 2 techniques of 1 evaluation, 1 open"],
    "evalbench convert mine/mlp --to torch-export": ["check: 32 rows of the data set", "load: torch.export.load("],
    "evalbench radar --from theirs/reports": ["reports/radar.html: 2 techniques of 1 evaluation, 1 open"],
    "evalbench +sweep=depths": ["`model.depth`: `1`, `2`"],
    "evalbench +sweep=datasets": ["linear model", "trivial predictor"],
    "evalbench +sweep=grid": f"{SMALL} dataset=iris activation=relu,tanh optimizer=adam,momentum model.depth=1",
    "evalbench --config-dir mine -m model=mlp,net dataset=iris,wine": ["`nets.Net`"],
    "evalbench -m optimizer=sgd,adam dataset=diabetes task._target_=quantiles.Quantiles": ["pinball", "| Quantiles |"],
}

FEW, SGD_ADAM = "dataset=iris", "optimizer=sgd,adam"
TWO = f"{FEW} {SGD_ADAM}"
CHECKED = {  # they train for minutes: the cells of the shortened command are composed and checked, and nothing trains
    "evalbench +sweep=optimizers": TWO,
    "evalbench +sweep=optimizers optimizer=sgd,adamw dataset=digits,wine num_seeds=10": FEW,
    "evalbench +sweep=optimizers dataset=csv dataset.path=my.csv evaluation.name=table": SGD_ADAM,
    "evalbench +sweep=optimizers optimizer=sgd,adam,adamw dataset=csv dataset.path=my.csv num_seeds=20 "
    "evaluation.name=mine": SGD_ADAM,
    "evalbench +sweep=optimizers_large": "dataset=breast_cancer optimizer=minibatch_sgd,adam",
    "evalbench +sweep=activations": "dataset=iris activation=relu,tanh",
    "evalbench -m model=mlp,random_forest,boosted_trees dataset=breast_cancer,wine": FEW,
    "evalbench -m model=command model.command='python train.py --seed {seed} --optimizer {technique} --data "
    "{workload}' model.technique=sgd,adam dataset=named dataset.name=cifar10,svhn dataset.metric=accuracy": "",
    "evalbench model=estimator model._target_=sklearn.svm.SVC +model.probability=true dataset=wine": "",
    "evalbench -m model=pretrained model.path=models/minilm adaptation=probe,bitfit,lora optimizer=adamw "
    "optimizer.lr=0.003 dataset=csv dataset.path=films.csv 'dataset.text=[text]' dataset.text_as=tokens "
    "'dataset.tokenizer=${model.path}'": "dataset.text_length=8 adaptation=probe,lora",
    "evalbench -m model=pretrained model.path=models/minilm adaptation=probe,lora optimizer=adamw optimizer.lr=0.003 "
    "dataset=parquet dataset.path=sentences.parquet dataset.tokens=words dataset.target=tags "
    "'dataset.tokenizer=${model.path}'": "dataset.text_length=30 adaptation=probe",
    "evalbench -m model=pretrained model.path=models/minilm adaptation=bitfit,lora optimizer=adamw dataset=csv "
    "dataset.path=films.csv 'dataset.prompt=\"Film: {{ text }}\\nGood or bad?\"' dataset.text_as=tokens "
    "'dataset.tokenizer=${model.path}'": "dataset.text_length=8",
    "evalbench -m model=pretrained model.path=models/llama model.head=causal_lm adaptation=lora,full optimizer=adamw "
    "dataset=csv dataset.path=sums.csv dataset.kind=generation dataset.target=answer "
    "'dataset.prompt=\"Question: {{ question }}\\nAnswer:\"' dataset.text_as=tokens "
    "'dataset.tokenizer=${model.path}' save=best": "dataset.text_length=8 adaptation=lora",
    "evalbench -m model=pretrained model.path=models/llama adaptation=lora,full optimizer=adamw dataset=csv "
    "dataset.path=mails.csv 'dataset.text=[text]' dataset.kind=next_token dataset.text_length=128 "
    "'dataset.tokenizer=${model.path}'": "dataset.text_length=8 adaptation=lora",
    **dict.fromkeys(
        [
            f"evalbench +sweep={name} model.path=models/minilm dataset.path=mails.csv"
            for name in ("adaptations", "lora_ranks", "finetune_optimizers")
        ],
        "dataset.text_length=8",
    ),
    "evalbench -m compression=none,distillation compression.teacher=teachers dataset=digits "
    "model.width=16": "num_seeds=2",
    "evalbench +sweep=compression": "dataset=iris model=mlp compression=none,int8_dynamic",
    "evalbench -m compression=none,magnitude_pruning,movement_pruning compression.sparsity=0.8 dataset=digits "
    "model=cnn": "",
    "evalbench -m split=kfold dataset=wine model=mlp,random_forest": "",
    "evalbench -m optimizer.lr=0.001,0.01,0.1 dataset=wine,digits": FEW,
    "evalbench -m optimizer=sgd,adam model.depth=1,3 dataset=iris,wine": FEW,
    "evalbench -m dataset=breast_cancer,wine optimizer=sgd,adam task.metric=macro_f1 task.monitor=auroc": FEW,
    "evalbench -m dataset=wine optimizer=sgd,adam 'task.metric={_target_:torchmetrics.classification."
    "MulticlassCohenKappa,num_classes:3,name:kappa,best:1}'": "",
    "evalbench -m dataset=breast_cancer,wine loss=cross_entropy,focal loss.class_weights=balanced": FEW,
    "evalbench -m augmentation=none,flip_crop dataset=digits model=cnn": "",
    "evalbench -m model=cnn,resnet,vit,convnext dataset=digits": "model=cnn,vit",
    "evalbench -m model=tagger optimizer=sgd,adam dataset=parquet dataset.path=sentences.parquet dataset.tokens=words "
    "dataset.target=tags": "",
    "evalbench -m model=tagger,transformer dataset=python_roles": "dataset.num_rows=100",
    "evalbench +sweep=vision": "augmentation=none,mixup",
    "evalbench +sweep=tables": "model=boosted_trees,mlp dataset=iris",
    "evalbench +sweep=text": "",
    "evalbench +sweep=scaling": "model.width=16,32 model.depth=1",
    "evalbench +sweep=scaling model.width=16,32,64,128 budget.steps=250,500,1000 dataset.num_rows=28000": (
        "model.width=16,32 model.depth=1"
    ),
    "evalbench +sweep=losses": FEW,
    "evalbench +sweep=imbalance": "dataset=anes96 loss=focal",
    "evalbench -m resampling=none,oversample,undersample dataset=marriage task.metric=balanced_accuracy": "",
    "evalbench --config-dir mine +sweep=optimizers optimizer=sgd,adam,nadam": FEW,
    "evalbench +sweep=optimizers +search=random": TWO,
    "evalbench +sweep=optimizers +search=tpe search.num_candidates=64": TWO,
    "evalbench dataset=digits optimizer=adam +search=tpe": "",
    "evalbench +sweep=optimizers evaluation.variance=true": TWO,
    "evalbench +sweep=optimizers 'evaluation.variance={init: 6, order: 3, split: 12}'": TWO,
    "evalbench +sweep=optimizers tracker=tensorboard": TWO,
    "evalbench +sweep=optimizers tracker=[wandb,mlflow]": TWO,
    "evalbench +sweep=optimizers tracker.live=true": TWO,
    "evalbench +sweep=optimizers tracker.wandb.mode=online": TWO,  # and needs an account
}

ABSENT = "its data are not in the repository; its options are parsed"
MAKE = "installs, formats or tests this very repository; there is such a target"
NETWORK = "needs a network"
ONLY_PARSED = {
    "evalbench judge LOGS --protocol algoperf --held-out criteo1tb_embed_init=criteo1tb fastmri_tanh=fastmri "
    "imagenet_resnet_large_bn_init=imagenet_resnet librispeech_conformer_layernorm=librispeech_conformer "
    "ogbg_model_size=ogbg wmt_glu_tanh=wmt": ABSENT,
    "evalbench judge peft/method_comparison/MetaMathQA/results --out reports/peft": ABSENT,
    "evalbench judge reports/results_small-8c1h.csv --baseline randomforest --where task=adult": ABSENT,
    "evalbench -m model=own_pretrained model.network._target_=mine.Net model.weights=base.safetensors "
    "adaptation=full,probe,bitfit": "its network and weights are the user's; its options are parsed",
    "evalbench report --from wandb entity/project --baseline sgd": NETWORK,
    **dict.fromkeys(
        [
            "evalbench report --from wandb-offline DIR --baseline adam --map technique=config.optimizer "
            "workload=config.dataset seed=config.seed score=summary.test/accuracy",
            "evalbench report --from wandb-offline runs/wandb --baseline sgd --out reports/theirs --map "
            "technique=config.optimizer workload=config.dataset seed=config.seed score=summary.test/accuracy",
            "evalbench report --from mlflow sqlite:///mlruns.db/experiment --baseline sgd --map workload=const:digits",
        ],
        "tests/imports/test_imports.py runs it on files that W&B and MLflow wrote; its options are parsed",
    ),
    **dict.fromkeys(["make demo", "make check", "make docs", "make quick", "make format", "make services"], MAKE),
    "git clone … && cd evalbench": NETWORK,
    "git clone --depth 1 https://github.com/huggingface/peft": NETWORK,
    "pip install .": "tests/test_wheel.py installs the wheel",
    "pip install '.[tensorboard,mlflow,trackio,dashboards]'": "needs a package index; there are such extras",
    "pip install optuna-dashboard": "needs a package index",
    "optuna-dashboard outputs/studies.journal": "starts a server",
    'eval "$(evalbench -sc install=bash)"': "changes the shell",
}


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Return the commands of a shell block without comments."""
        whole = self.text.replace("\\\n", " ")
        stripped = (re.sub(r"(^|\s+)#\s.*", "", line) for line in whole.splitlines())
        return [re.sub(r"\s+", " ", line).strip() for line in stripped if line.strip()]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    """Return the blocks of a language on all pages."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(path.relative_to(ROOT).as_posix(), line, language, match[1]))
    return found


SHELL, PYTHON = blocks("sh"), blocks("python")
COMMANDS_OF_PAGES = [command for block in SHELL for command in block.commands]
TABLES = (AS_WRITTEN, SHORTENED.keys(), CHECKED.keys(), ONLY_PARSED.keys())


def test_every_command_is_in_one_table() -> None:
    known = [command for table in TABLES for command in table]
    assert sorted(set(COMMANDS_OF_PAGES) - set(known)) == []
    assert sorted(set(known) - set(COMMANDS_OF_PAGES)) == []
    assert len(known) == len(set(known))


def test_the_links_of_the_readme_lead_somewhere() -> None:
    """`make docs` checks the links of the other pages."""
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


# ── files that the pages name ─────────────────────────────────────────────────────────────────────────────────────────


def rows(techniques: str, **columns: Callable[[int, int], float]) -> pd.DataFrame:
    """Return five runs of each technique, each column a function of the technique's number and the seed."""
    keys = [(number, name, seed) for number, name in enumerate(techniques.split()) for seed in range(5)]
    table = pd.DataFrame({"technique": [name for _, name, _ in keys], "seed": [seed for *_, seed in keys]})
    for name, value in columns.items():
        table[name] = [value(number, seed) for number, _, seed in keys]
    return table.assign(workload="credit")


def scores(number: int, seed: int) -> float:
    return 0.80 + 0.02 * number + 0.005 * ((7 * seed + 3 * number) % 5)


def seconds(number: int, seed: int) -> float:
    return 5 - number + 0.1 * ((7 * seed + 3 * number) % 5)


def write_my_csv(path: Path) -> None:
    lines = [f"{row % 7},{'red' if row % 3 else ''},{row * 1.5},{int(row % 7 > 3)}" for row in range(100)]
    path.write_text("\n".join(["a,colour,b,label", *lines]))


def write_folds(path: Path) -> None:
    path.parent.mkdir()
    for workload in ("credit", "churn"):
        table = rows("rf boosting", accuracy=scores).rename(columns={"seed": "fold"}).assign(workload=workload)
        table.to_json(path.with_name(f"{workload}.json"), orient="records")


def write_curves(path: Path) -> None:
    table = rows("sgd adam", score=scores)
    pd.concat([table.assign(step=step, score=table["score"] + step / 20) for step in (1, 2, 3)]).to_csv(
        path, index=False
    )


def write_steps(path: Path) -> None:
    table = pd.read_csv(ROOT / "tests/report/published/algoperf_steps.csv").drop(columns="score")
    long = table.rename(columns={"submission": "technique"}).melt("technique", var_name="workload", value_name="step")
    long.assign(seed=0).to_csv(path, index=False)


def write_events(path: Path) -> None:
    tracker = TensorBoardTracker(str(path))
    for technique in ("sgd", "adam"):
        for seed in range(3):
            config = {"technique": technique, "dataset": "digits", "seed": seed}
            summary = {"score": 0.9 + seed / 100}
            key = f"{technique}-{seed}"
            tracker.record(replace(RUN, id=key, name=key, config=config, summary=summary))
    tracker.close()


def write_module(path: Path) -> None:
    path.write_text(next(block.text for block in PYTHON if block.text.startswith(f"# {path.name}")))


def write_table(table: pd.DataFrame) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        table.to_csv(path, index=False)

    return write


def copy_of(name: str) -> Callable[[Path], None]:
    def copy(path: Path) -> None:
        shutil.copy(ROOT / "tests" / name, path)

    return copy


def copy_record(path: Path, name: str = "optimizers") -> None:
    shutil.copytree(ROOT / "reports/examples" / name, path.parent, ignore=shutil.ignore_patterns("figures", "numbers"))


def copy_summary(reports: Path) -> None:
    (reports / "optimizers").mkdir(parents=True)
    shutil.copy(ROOT / "reports/examples/optimizers/summary.json", reports / "optimizers")


FILES: dict[str, Callable[[Path], Any]] = {
    "my.csv": write_my_csv,
    "new.csv": write_my_csv,
    "sentences.parquet": lambda path: tagged.frame().to_parquet(path),
    "nets.Net": lambda path: write_module(path.with_name("nets.py")),
    "quantiles.Quantiles": lambda path: write_module(path.with_name("quantiles.py")),
    "results.csv": write_table(rows("sgd adam", score=scores)),
    "credit.csv": write_table(rows("old new", accuracy=scores)),
    "runs.csv": write_table(rows("base new", loss=seconds, time=seconds)),
    "losses.csv": copy_of("report/published/nanogpt.csv"),
    "curves.csv": write_curves,
    "steps.csv": write_steps,
    "demsar_auc.csv": copy_of("statistics/data/demsar_auc.csv"),
    "amlb_auc.csv": copy_of("report/published/amlb_auc.csv"),
    "old/results.csv": copy_record,
    "new/results.csv": copy_record,
    "evalbench radar": lambda path: copy_summary(path.with_name("reports")),
    "theirs/reports": lambda path: copy_summary(path),
    "runs/*.json": write_folds,
    "films.csv": tiny_models.texts,
    "mails.csv": tiny_models.texts,
    "sums.csv": lambda path: tiny_models.answers(path, question="question"),
    "models/llama": lambda path: tiny_models.tokenizer(tiny_models.llama(path), eos_token="[SEP]"),
    "models/minilm": lambda path: tiny_models.tokenizer(tiny_models.bert(path)),
    "tensorboard runs": lambda path: write_events(path.with_name("runs")),
}


def write_files(text: str, folder: Path) -> None:
    """Write the files that a text names."""
    for name, write in FILES.items():
        if re.search(rf"(?<![\w/]){re.escape(name)}\b|'{re.escape(name)}'", text):
            write(folder / name)
    if "sync" in text or "dashboard optimizers" in text:
        shared = (
            "evaluation.name=optimizers",
            "evaluation.factor=optimizer",
            "evaluation.baseline=sgd",
            "tracker=wandb",
        )
        plan = Plan.of([compose_config(*shared, "dataset=iris", f"optimizer={name}") for name in ("sgd", "adam")])
        link(plan, Store("sqlite:///outputs/store.sqlite"), "command")


# ── running ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def prompt(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Run a command of a page in this process; figures are saved empty: other tests draw them."""
    monkeypatch.setattr(style, "save", lambda figure, path: path.write_bytes(b""))
    monkeypatch.syspath_prepend(str(workspace))

    def run(command: str) -> None:
        if command in ONLY_PARSED:
            parse(command)
        elif command.startswith("python -m evalbench."):
            module, *words = command.split()[2:]
            assert importlib.import_module(f"{module}.__main__").main(words) == 0
        elif not command.startswith("evalbench"):
            subprocess.run(command, shell=True, check=True, cwd=workspace)
        else:
            with monkeypatch.context() as patch, suppress(SystemExit) if "--help" in command else nullcontext():
                patch.setattr(sys, "argv", arguments(command))
                if command in CHECKED:
                    patch.setattr(hydra_app, "_run", lambda *_: None)
                main()

    yield run
    for name in ("nets", "quantiles"):
        sys.modules.pop(name, None)


def arguments(command: str) -> list[str]:
    """Return the words of a command, with the settings that shorten it in place of the page's."""
    words = shlex.split(command)
    if words[1:2] and words[1] in COMMANDS:
        return words
    short = shlex.split({**SHORTENED, **CHECKED}.get(command, ""))
    keys = {word.partition("=")[0] for word in short}
    quiet = ["hydra/launcher=basic", "hydra/job_logging=none", "hydra/hydra_logging=none"]
    return [*(word for word in words if word.partition("=")[0] not in keys), *short, *quiet]


def parse(command: str) -> None:
    """Parse a command that is not run, as far as this repository knows its words."""
    program, *words = shlex.split(command)
    if program == "evalbench":
        assert isinstance(report_command._parser().parse_args(words[1:]), argparse.Namespace)
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[:1] == ["install"] and words[1].startswith(".["):
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set(words[1].strip(".[]").split(",")) <= set(extras)


def blocks_with_new_commands() -> list[Any]:
    """Return each block with the commands that no earlier block has."""
    seen: set[str] = set()
    chosen = []
    for block in SHELL:
        commands = [command for command in block.commands if command not in seen]
        seen.update(commands)
        if commands:
            chosen.append(pytest.param(commands, id=str(block)))
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("commands", blocks_with_new_commands())
def test_a_command_runs(
    commands: list[str], prompt: Callable[[str], None], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files("\n".join(commands), workspace)
    for command in commands:
        prompt(command)
        said = capsys.readouterr().out + "".join(
            path.read_text(encoding="utf-8") for path in workspace.glob("reports/*/report.md")
        )
        assert [words for words in SAYS.get(command, ()) if words not in said] == []


@pytest.mark.slow
def test_a_table_of_the_users_own_runs_as_the_textbook_says(prompt: Callable[[str], None], workspace: Path) -> None:
    """docs/data.md: two hidden layers of 64, one sigmoid output, Adam, batches of 32."""
    write_my_csv(workspace / "my.csv")
    prompt("evalbench dataset=csv dataset.path=my.csv budget.epochs=10")
    store = Store("sqlite:///outputs/store.sqlite")
    (trial, *_) = store.trials([link.trial_id for link in store.links("single")]).values()
    assert trial.workload == "my"
    assert trial.settings["optimizer"] == {
        "_target_": "torch.optim.Adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8, "batch_size": 32
    }  # fmt: skip
    widths = [(4, 64), (64, 64), (64, 1)]  # a, colour missing, colour red, b; one logit
    assert trial.result.parameters == sum(inputs * outputs + outputs for inputs, outputs in widths)
    assert trial.result.metrics["test/accuracy"] > 0.7


# ── Python ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_example_of_code_to_add_has_a_test() -> None:
    source = Path(test_how_to_add.__file__).read_text(encoding="utf-8")
    assert [name for name in test_how_to_add.EXAMPLES if f'run("{name}"' not in source] == []


RUN_HERE = [block for block in PYTHON if not block.text.startswith("# ")]


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN_HERE, ids=str)
def test_python_runs(
    block: Block, prompt: object, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run a block of Python as it is, but for shorter trainings; `docs/method.md` also shows what it prints."""
    write_module(workspace / "nets.py")
    monkeypatch.setattr("evalbench.evaluate", shortened, raising=False)
    names = {"evalbench": evalbench, "torch": torch, "nets": importlib.import_module("nets"), "partial": partial}
    frame = rows("rf boosting", auc=scores).rename(
        columns={"technique": "framework", "workload": "task", "seed": "fold"}
    )
    exec(block.text, {**names, "df": frame, "mine": arrays("mine"), "yours": arrays("yours")})
    printed = capsys.readouterr().out
    assert printed in (ROOT / block.page).read_text(encoding="utf-8")


def shortened(overrides: Sequence[str] = (), **objects: Any) -> Evaluation:
    """Evaluate with two seeds and one epoch."""
    return evaluate([*overrides, *SMALL.split()[1:]], **{**objects, "num_seeds": 2})


def arrays(name: str) -> Dataset:
    inputs = np.arange(60, dtype=np.float32).reshape(20, 3) % 7
    targets = np.arange(20) % 2
    return Dataset(name, Kind.BINARY, inputs, targets, ("a", "b", "c"), np.ones(3, dtype=bool), ("no", "yes"))
