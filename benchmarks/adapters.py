"""Time LoRA on a pretrained encoder in cohorts, in a bare PEFT loop and in Transformers' Trainer.

`python -m benchmarks.adapters` builds an encoder of MiniLM's shape with drawn weights; `--model DIR` takes yours. All
ways take the same number of steps on batches of the same size, in turns, and the fastest round counts. A cohort of C
members takes the steps of C trials. It runs on a GPU if there is one, in bfloat16 with `--bf16`.
"""

import argparse
import gc
import io
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from evalbench.config import Config
from evalbench.config.tree import parse
from evalbench.engine import training
from evalbench.programs import conf_folder
from evalbench.trial import Entrant
from evalbench.workloads import Dataset, Kind

ROUNDS, RANK, RATE = 3, 8, 1e-3
WARM_UP = 10
"""Steps before the clock starts on a GPU, which captures a graph in them and compares it with direct steps."""
Take = Callable[[int], None]
"""Takes a number of steps, and returns when the device has ended them."""


def encoder(folder: Path) -> Path:
    """Save an encoder of the shape of all-MiniLM-L6-v2: 6 layers of 384 units."""
    from transformers import BertConfig, BertModel

    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    BertModel(BertConfig(**shape)).save_pretrained(folder)  # type: ignore[arg-type]
    return folder


def texts(rows: int, tokens: int) -> Dataset:
    """Return random tokens of two classes, as many rows as some batches need."""
    generator = np.random.default_rng(0)
    inputs = generator.integers(1000, 20_000, (max(40, 8 * rows), tokens))
    names = tuple(f"token {number}" for number in range(tokens))
    targets = np.arange(len(inputs)) % 2
    return Dataset("texts", Kind.BINARY, inputs, targets, names, np.zeros(tokens, bool), ("0", "1"), vocabulary=30_522)


def config_of(model: Path, rows: int, bf16: bool, path: str) -> Config:
    """Return the configuration of a cell that trains LoRA."""
    chosen = ["model=pretrained", f"model.path={model}", "adaptation=lora", f"adaptation.r={RANK}", "optimizer=adamw"]
    sizes = [f"optimizer.batch_size={rows}", f"optimizer.lr={RATE}", "num_seeds=64", "tracker=none", "budget.epochs=1"]
    precision = ["trainer.precision=bf16-mixed"] if bf16 else []
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        numbers = [*precision, f"trainer.path={path}", "trainer.verify=false"]
        tree = compose("config", [*chosen, *sizes, *numbers], return_hydra_config=True)
    return parse(tree, tree.hydra)


class Bench:
    """The ways to train on one size of batches."""

    def __init__(self, model: Path, rows: int, tokens: int, bf16: bool, path: str = "auto") -> None:
        self.model, self.rows, self.tokens, self.bf16, self.path = model, rows, tokens, bf16, path
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def autocast(self) -> AbstractContextManager[object]:
        """Return bfloat16 for products, if it is asked for."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def adapted(self) -> Any:
        """Return the network of one trial, as PEFT makes it."""
        import peft
        from transformers import AutoModelForSequenceClassification

        base = AutoModelForSequenceClassification.from_pretrained(self.model, num_labels=2)
        return peft.get_peft_model(base, peft.LoraConfig(r=RANK, lora_alpha=16, task_type="SEQ_CLS"))

    def bare(self) -> Take:
        """Return steps of a loop of PyTorch."""
        network = self.adapted().to(self.device).train()
        optimizer = torch.optim.AdamW([value for value in network.parameters() if value.requires_grad], RATE)
        tokens = torch.randint(1000, 20_000, (self.rows, self.tokens), device=self.device)
        targets, seen = torch.arange(self.rows, device=self.device) % 2, torch.ones_like(tokens)

        def take(steps: int) -> None:
            for _ in range(steps):
                with self.autocast():
                    logits = network(input_ids=tokens, attention_mask=seen).logits
                    loss = nn.functional.cross_entropy(logits, targets)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad()
            self.synchronize()

        return take

    def trainer(self) -> Take:
        """Return steps of Transformers' Trainer, without its logs and checkpoints."""
        from transformers import Trainer, TrainingArguments

        network = self.adapted()
        row = {"input_ids": torch.randint(1000, 20_000, (self.tokens,)), "labels": torch.tensor(1)}
        few = [row] * (8 * self.rows)

        def take(steps: int) -> None:
            with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # its dictionaries
                quiet = {"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
                sizes = {"max_steps": steps, "per_device_train_batch_size": self.rows, "learning_rate": RATE}
                options: dict[str, Any] = {**quiet, **sizes, "bf16": self.bf16, "use_cpu": self.device.type == "cpu"}
                arguments = TrainingArguments(folder, **options)
                Trainer(network, arguments, train_dataset=few).train()
            self.synchronize()

        return take

    def cohort(self, members: int) -> tuple[Take, int, Callable[[], int]]:
        """Return steps of a cohort, its members, and what tells the bytes of their own weights and optimizers."""
        config, dataset = config_of(self.model, self.rows, self.bf16, self.path), texts(self.rows, self.tokens)
        made, _ = training.make_cohort(config, dataset, [Entrant(seed) for seed in range(members)])
        made = made.to(self.device)
        rows = next(iter(made.batches.chunks(0, 1, 1))).to(self.device)

        def take(steps: int) -> None:
            with torch.no_grad(), self.autocast():
                for step in range(steps):
                    made.train_chunk(rows, step)
            self.synchronize()

        return take, members, lambda: made.state_bytes + made.optimizer.state_bytes

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def machine(self) -> str:
        """Return what computes."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{torch.get_num_threads()} threads"

    def warm_up(self, take: Take) -> float:
        """Take the first steps; return the MiB that they take beside what lies on the GPU before them, or NaN."""
        if self.device.type != "cuda":
            take(1)
            return math.nan
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        take(WARM_UP)
        return (torch.cuda.max_memory_allocated(self.device) - before) / 2**20

    def measured(self, steps: int, members: list[int]) -> Iterator[str]:
        """Yield a line per way: trials' steps per second, and memory."""
        ways: dict[str, tuple[Take, int, Callable[[], int] | None]] = {
            "bare PEFT loop": (self.bare(), 1, None),
            "Trainer": (self.trainer(), 1, None),
        }
        for count in members:
            ways[f"cohort of {count}"] = self.cohort(count)
        best = dict.fromkeys(ways, 0.0)
        peaks = {name: self.warm_up(take) for name, (take, _, _) in ways.items()}
        for _ in range(ROUNDS):
            for name, (take, count, _) in ways.items():
                start = time.perf_counter()
                take(steps)
                best[name] = max(best[name], steps * count / (time.perf_counter() - start))
        for name, (_, count, own) in ways.items():
            memory = f", {own() / count / 2**20:.2f} MiB of weights and optimizer per trial" if own else ""
            peak = "" if math.isnan(peaks[name]) else f", {peaks[name]:.0f} MiB in a step"
            relative = best[name] / best["bare PEFT loop"]
            yield f"{name}: {best[name]:.2f} steps of a trial/s, {relative:.2f} times{memory}{peak}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table for the sizes of the command line, and keep it in the folder of the measurements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapters", description=__doc__)
    parser.add_argument("--model", type=Path, help="a folder with an encoder")
    parser.add_argument("--sizes", nargs="+", default=["8x32", "16x128"], help="rows x tokens of a batch")
    parser.add_argument("--members", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--path", default="auto", help="the path of the cohort's steps: auto, batched or compiled")
    parser.add_argument("--small", action="store_true", help="tiny numbers, to try this program")
    parser.add_argument("--records", type=Path, help="a folder for the table")
    given = parser.parse_args(arguments)
    if given.small:
        given.sizes, given.members, given.steps = ["2x4"], [1, 2], 1
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)
        if given.records is not None:
            given.records.mkdir(parents=True, exist_ok=True)
            (given.records / "adapters.txt").write_text("\n".join(lines) + "\n")

    from transformers.utils import logging

    warnings.filterwarnings("ignore", module="transformers|torch")
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or encoder(Path(folder))
        for size in given.sizes:
            rows, tokens = map(int, size.split("x"))
            bench = Bench(model, rows, tokens, given.bf16, given.path)
            precision = "bfloat16" if given.bf16 else "float32"
            say(f"{rows} x {tokens} tokens, {bench.machine}, {precision}, path {given.path}:")
            for line in bench.measured(given.steps, given.members):
                say(f"  {line}")
            gc.collect()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
