"""Answers in words: their data, losses, greedy decoding, metrics, training, predictions and files."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import tiny_models
from conftest import make_cell
from evalbench import load_weights, models, weights
from evalbench.cell import Cell, check
from evalbench.convert import conversion
from evalbench.convert.trained import Trained
from evalbench.engine import checks, counting, training
from evalbench.engine.data import Data
from evalbench.engine.validation import Validation
from evalbench.errors import ConfigError, DataError, InputError
from evalbench.models.answers import begun, scored
from evalbench.models.pretrained import Pretrained
from evalbench.seeds import Role, derive
from evalbench.tasks.generation import Generation
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads import references
from plain import train as train_plainly

PAD, START, END = 0, 2, 3
CODES = {word: 4 + number for number, word in enumerate(tiny_models.WORDS)}
PROMPT = 'dataset.prompt="the {{ text }} was"'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table and three models, whose tokenizers know an end."""
    folder = tmp_path_factory.mktemp("answers")
    tiny_models.answers(folder / "films.csv")
    for save in (tiny_models.llama, tiny_models.gpt2, tiny_models.bert):
        tiny_models.tokenizer(save(folder / save.__name__), eos_token="[SEP]")
    return folder


def of(folder: Path, model: str, *more: str) -> Cell:
    data = ("dataset=csv", f"dataset.path={folder}/films.csv", "dataset.kind=generation", "dataset.text_as=tokens")
    network = ("model=pretrained", f"model.path={folder / model}", "dataset.tokenizer=${model.path}")
    settings = ("optimizer.lr=0.05", "budget.epochs=3", "optimizer.batch_size=8", "trainer.path=batched")
    prompt = () if any(setting.startswith(("dataset.text=", "dataset.prompt")) for setting in more) else (PROMPT,)
    adaptation = () if any("adaptation" in setting for setting in more) else ("adaptation=lora",)
    return make_cell(*data, *network, *settings, *prompt, *adaptation, *more)


def built(cell: Cell, seed: int) -> Pretrained:
    index = derive(cell.config.root_seed, cell.dataset.name, Role.INIT, seed)
    shape, config = training.shape_of(cell.dataset), cell.config
    network = models.build_seeded(index, config.model, config.activation, shape, adaptation=config.adaptation)
    assert isinstance(network, Pretrained)
    return network.eval()


def test_rows_are_prompts_with_padding_before_them_and_then_the_answers(folder: Path) -> None:
    dataset = of(folder, "llama").dataset
    words = [[CODES[word] for word in text.split()] for text in ("the good good was", "the bad bad was")]
    answers = [[CODES["good"], CODES["film"], END], [CODES["bad"], END, PAD]]
    assert dataset.inputs[0].tolist() == [PAD, PAD, START, *words[0], *answers[0]]
    assert dataset.inputs[3].tolist() == [PAD, PAD, START, *words[1], *answers[1]]
    assert dataset.targets[[0, 3]].tolist() == [answers[0], [CODES["bad"], END, NO_TARGET]]
    assert "answers of up to 3 tokens, most often 'good film' (21 rows)" in dataset.description


def test_what_is_too_long_is_cut_before_a_prompt_and_behind_an_answer_which_counts_as_wrong(folder: Path) -> None:
    dataset = of(folder, "llama", "dataset.text_length=3", "dataset.answer_length=2").dataset
    assert dataset.inputs[0].tolist() == [START, CODES["good"], CODES["was"], CODES["good"], CODES["film"]]
    assert "40 of 40 texts are longer" in dataset.description
    assert "21 of 40 answers are longer and cut: they count as wrong" in dataset.description
    truth = np.where(dataset.targets == NO_TARGET, 0, dataset.targets)
    right = np.stack([np.zeros(truth.shape), dataset.targets], axis=-1)
    assert dataset.evaluate(right, dataset.targets)["test/exact_match"] == 19 / 40


def greedily(follow: Callable[[tuple[int, ...]], int], prompt: list[int], length: int) -> list[int]:
    """Write an answer token by token."""
    tokens: list[int] = []
    while len(tokens) < length and END not in tokens:
        tokens.append(follow((*prompt, *tokens)))
    return tokens + [NO_TARGET] * (length - len(tokens))


def test_repeated_passes_write_what_token_by_token_is_written() -> None:
    task, length = Generation(END), 6

    def follow(before: tuple[int, ...]) -> int:
        return (sum((index + 3) * token for index, token in enumerate(before)) * 7 + len(before)) % 11

    passes: list[Tensor] = []

    def forward(inputs: Tensor) -> Tensor:
        passes.append(inputs)
        rows = inputs.flatten(0, -2).tolist()
        nexts = [[follow(tuple(row[: 2 + index])) for index in range(length)] for row in rows]
        written = torch.tensor(nexts, dtype=torch.float32).reshape(*inputs.shape[:-1], length)
        return torch.stack([-written, written], dim=-1)

    prompts = list(itertools.product(range(4, 9), range(4, 9)))
    expected = torch.tensor([greedily(follow, list(prompt), length) for prompt in prompts])
    assert (expected == END).any()
    assert (expected[:, -1] != NO_TARGET).any()
    guesses = torch.randint(4, 9, (len(prompts), length), generator=torch.Generator().manual_seed(0))
    inputs = torch.cat([torch.tensor(prompts), guesses], dim=1)
    outputs = task.tested(forward, inputs[None])
    assert outputs[0, :, :, 1].tolist() == expected.tolist()
    assert 2 < len(passes) <= length
    assert torch.equal(outputs[..., 0], forward(inputs[None])[..., 0])  # of the answers that the inputs had
    passes.clear()
    right = torch.where(expected == NO_TARGET, 5, expected)
    assert task.tested(forward, torch.cat([torch.tensor(prompts), right], dim=1))[..., 1].tolist() == expected.tolist()
    assert len(passes) == 1


@pytest.mark.parametrize("model", ["llama", "gpt2"])
@pytest.mark.slow
def test_members_write_together_what_transformers_generate_row_by_row(folder: Path, model: str) -> None:
    cell = of(folder, model, "dataset.answer_length=6")
    data = cell.dataset
    checks.check(cell.config, data)
    cohort, _ = training.make_cohort(cell.config, data, cell.entrants(0, 1))
    length = data.targets.shape[1]
    rows = torch.arange(10).expand(2, -1)
    outputs = cohort._evaluate(cohort._held.stack, rows, tested=True)
    different = set()
    for member, row in itertools.product(range(2), range(10)):
        prompt = torch.as_tensor(data.inputs[row][None, :-length])
        prompt = prompt[:, int((prompt == PAD).sum()) :]
        settings: dict[str, Any] = {"do_sample": False, "max_new_tokens": length, "eos_token_id": END}
        network = built(cell, member).network
        with torch.no_grad():
            tokens = network.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), pad_token_id=PAD, **settings
            )
        written = outputs[member, row, :, 1]
        assert written[written != NO_TARGET].tolist() == tokens[0, prompt.shape[1] :].tolist()
        different.add(tuple(written.tolist()))
    assert len(different) > 1


@pytest.mark.parametrize("model", ["llama", "gpt2"])
@pytest.mark.slow
def test_the_loss_is_that_of_transformers_on_the_tokens_of_answers(folder: Path, model: str) -> None:
    cell = of(folder, model)
    network, task = built(cell, 0), cell.dataset.kind
    inputs, targets = (torch.as_tensor(array[:8]) for array in (cell.dataset.inputs, cell.dataset.targets))
    sums, count = 0.0, 0
    with torch.no_grad():
        loss = task.loss(network(inputs), targets)
        for row, target in zip(inputs, targets, strict=True):
            kept = target != NO_TARGET
            tokens = torch.cat([row[: -len(target)][row[: -len(target)] != PAD], target[kept]])[None]
            labels = torch.full_like(tokens, NO_TARGET)
            labels[:, -int(kept.sum()) :] = target[kept]
            sums += float(network.network(input_ids=tokens, labels=labels).loss) * int(kept.sum())
            count += int(kept.sum())
    assert float(loss) == pytest.approx(sums / count, rel=1e-5)


def test_padding_before_a_prompt_is_not_seen_and_the_same_token_within_it_is(folder: Path) -> None:
    """Some models end the turns of a chat with their token of padding."""
    prompts = torch.tensor([[PAD, PAD, 5, PAD, 6], [7, PAD, PAD, 5, PAD]])
    assert begun(prompts, PAD).tolist() == [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]
    network = built(of(folder, "llama"), 0).network
    rows = torch.tensor([[PAD, PAD, 5, PAD, 6, 8, END], [PAD, 5, PAD, 6, 8, 9, END]])
    with torch.no_grad():
        together = scored(network, rows, PAD, 2)
        alone = [scored(network, row[None, first:], PAD, 2) for row, first in zip(rows, (2, 1), strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("adaptation", ["lora", "full", "prompt"])
@pytest.mark.slow
def test_a_cohort_trains_as_one_network_and_as_a_plain_loop(folder: Path, adaptation: str) -> None:
    cell = of(folder, "llama", f"adaptation={adaptation}", "trainer.verify=false", "budget.epochs=2")
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(2))
    plain = train_plainly(cell, 2)
    assert together[0].path["name"] == "batched"
    losses = [[point.val_loss for point in result.curve] for result in (together[2], alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] == pytest.approx(plain.val_losses, rel=1e-5)
    assert losses[0][0] != losses[0][1]
    assert together[2].metrics == pytest.approx(alone.metrics, rel=1e-5)
    assert together[2].metrics["test/log_loss"] == pytest.approx(plain.metrics["test/log_loss"], rel=1e-5)
    assert set(plain.metrics) == {"test/exact_match", "test/log_loss"}  # no answer has a number


def spoken(tokens: Any) -> list[str]:
    """Return texts of tokens: those from 10 on are words, others digits and signs."""
    return [
        "".join({8: ".", 9: ","}.get(token, " word " if token > 9 else str(token)) for token in row) for row in tokens
    ]


@pytest.mark.parametrize(
    ("answer", "written", "exact", "numeric"),
    [
        ([1, 2], [1, 2], 1, 1),
        ([1, 2], [2, 1], 0, 0),
        ([1, 9, 0, 0, 0], [11, 1, 0, 0, 0], 0, 1),  # 1,000 and a word before it
        ([5], [4, 11, 5], 0, 1),  # the last number counts
        ([5], [5, 11, 4], 0, 0),
        ([0, 8, 5], [8, 5], 0, 1),  # 0.5 and .5
        ([5], [11], 0, 0),  # no number
        ([11], [11], 1, math.nan),
        ([11], [5], 0, math.nan),
    ],
)
def test_metrics_by_hand(answer: list[int], written: list[int], exact: float, numeric: float) -> None:
    task = Generation(end=7, decode=spoken)
    rows = [[*tokens, 7, *[NO_TARGET] * (5 - len(tokens))] for tokens in (answer, written)]
    targets, predictions = (np.array([row]) for row in rows)
    scores = task.evaluate(np.stack([np.full((1, 6), -0.5), predictions], axis=-1), targets)
    assert scores.pop("test/log_loss") == 0.5
    assert scores.pop("test/exact_match") == exact
    assert scores == ({} if math.isnan(numeric) else {"test/numeric_match": numeric})


def test_losses_and_scores_are_means_over_tokens_and_rows_and_members_have_their_own() -> None:
    task = Generation(end=7, decode=spoken)
    targets = np.array([[[5, 7, NO_TARGET], [5, 6, 7]]] * 2)
    logs = np.array([[[-1.0, -2.0, -9.0], [-3.0, -4.0, -5.0]], [[-1.0, -1.0, -9.0], [-1.0, -1.0, -1.0]]])
    written = np.array([[[5, 7, NO_TARGET], [5, 5, 7]], [[5, 7, NO_TARGET], [5, 6, 7]]])
    scores = task.evaluate_all(np.stack([logs, written], axis=-1), targets)
    assert [score["test/log_loss"] for score in scores] == [3.0, 1.0]
    assert [score["test/exact_match"] for score in scores] == [0.5, 1.0]
    outputs = torch.tensor(np.stack([logs, written], axis=-1))
    assert task.score(outputs, torch.tensor(targets)).tolist() == [0.5, 1.0]
    assert task.loss_of(np.stack([logs, written], axis=-1)[0], targets[0], 1.0) == 3.0
    assert float(task.loss(outputs[0], torch.tensor(targets[0]))) == 3.0


def test_the_score_of_a_curve_is_the_exact_match_of_its_outputs() -> None:
    task, generator = Generation(end=7, decode=spoken), torch.Generator().manual_seed(0)
    targets = torch.tensor([[5, 7, NO_TARGET], [5, 6, 7], [6, 6, 6]]).repeat(20, 1)[None]  # each third one was cut
    others = torch.randint(5, 8, targets.shape, generator=generator)
    is_right = torch.rand(targets.shape, generator=generator) < 0.8
    written = torch.where(is_right, targets.clip(5), others)
    outputs = torch.stack([torch.zeros(targets.shape), written], dim=-1)
    score = task.score(outputs, targets)
    assert 0.1 < float(score) < 0.6
    assert task.measure(task.metric, task.predict(outputs), targets) == pytest.approx(score)


def test_a_new_head_trains_on_all_tokens_because_answers_are_read_while_they_are_written(folder: Path) -> None:
    from transformers import LlamaModel

    body = tiny_models.tokenizer(folder / "llama", eos_token="[SEP]")
    LlamaModel.from_pretrained(body).save_pretrained(folder / "body")
    tiny_models.tokenizer(folder / "body", eos_token="[SEP]")
    cell = of(folder, "body", "adaptation=probe", "budget.epochs=1")
    checks.check(cell.config, cell.dataset)
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0))
    assert set(cohort.current_weights(0)) > {"network.lm_head.weight"}
    assert cohort.data.num_columns == cell.dataset.inputs.shape[1]


def test_the_reference_is_the_most_frequent_answer(folder: Path) -> None:
    cell = of(folder, "llama")
    split, targets = cell.split(0), cell.dataset.targets
    scores = references.trivial(cell.dataset, {0: split})[0]
    is_film = targets[:, 0] == CODES["good"]
    assert is_film[split.train].mean() != 0.5
    right = is_film if is_film[split.train].mean() > 0.5 else ~is_film
    assert scores["test/exact_match"] == right[split.test].mean()
    train, test = (targets[rows][targets[rows] != NO_TARGET] for rows in (split.train, split.test))
    assert scores["test/log_loss"] == pytest.approx(-np.mean([np.log((train == token).mean()) for token in test]))
    assert references.linear(cell.dataset, {0: split}) == {}


@pytest.mark.parametrize(("metric", "tests"), [("log_loss", False), ("exact_match", False), ("numeric_match", True)])
def test_validation_writes_answers_only_for_metrics_that_need_them(folder: Path, metric: str, tests: bool) -> None:
    cell = of(folder, "llama", f"task.monitor={metric}")
    data = Data(cell.dataset, [cell.split(0)], torch.float32)
    assert Validation(cell.dataset, data).tests == tests


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of Transformers, for names that PEFT asks for
@pytest.mark.slow
def test_a_saved_network_writes_answers_to_new_rows_and_peft_loads_it(folder: Path, workspace: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM, AutoTokenizer

    cell = of(folder, "llama", "save=best", "budget.epochs=12")
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0), keep_in=workspace / "kept")
    assert result.curve[-1].val_score > 0
    predictor = load_weights(weights.folder(workspace / "kept", 0))
    split = cell.split(0)
    (workspace / "new.csv").write_text('text\ngood film\n"bad\nplot"\n')
    written, notes = predictor.predict_and_tell(workspace / "new.csv")
    assert notes == ["0 of 2 texts are longer"]
    assert list(written.columns) == ["prediction"]
    rows = pd.read_csv(workspace / "kept/s0/answers.csv")
    assert rows["item"].tolist() == split.test.tolist()
    assert rows["exact_match"].mean() == result.metrics["test/exact_match"]
    assert rows["exact_match"].tolist() == (rows["answer"] == rows["written"]).tolist()
    assert set(rows["answer"]) == {"good film", "bad"}
    description = json.loads((workspace / "kept/s0/model.json").read_text())
    trained = Trained(predictor, description)
    about = conversion.convert(trained, "peft", workspace / "adapter")
    assert about["check"]["largest difference"] <= 1e-5
    network = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder / "llama"), workspace / "adapter"
    )
    tokenizer = AutoTokenizer.from_pretrained(folder / "llama")
    for text, answer in zip(("good film", "bad\nplot"), written["prediction"], strict=True):
        tokens = torch.tensor([tokenizer(f"the {text} was")["input_ids"][:-1]])  # without the end
        settings: dict[str, Any] = {"do_sample": False, "max_new_tokens": 3, "eos_token_id": END, "pad_token_id": PAD}
        made = network.eval().generate(input_ids=tokens, **settings)  # type: ignore[no-untyped-call]
        kept = [token for token in made[0, tokens.shape[1] :].tolist() if token != END]
        assert answer == str(tokenizer.decode(kept)).strip()
    with torch.no_grad():
        tested = predictor(torch.as_tensor(cell.dataset.inputs[split.test])).numpy()
    scores = cell.dataset.evaluate(tested, cell.dataset.targets[split.test])
    assert scores == pytest.approx(result.metrics, rel=1e-5)
    for form in ("onnx", "torch-export"):
        with pytest.raises(InputError, match="takes several passes, which no graph has: use --to peft or safetensors"):
            conversion.convert(trained, form, workspace / form)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("llama", ("dataset.target=nothing",), "no column 'nothing'"),
        ("llama", ('dataset.prompt="{{ answer }}"',), "dataset.prompt .* which 'answer' is not"),
        ("llama", ("dataset.text=[text]", "dataset.answer_length=1"), "dataset.answer_length must be .* at least 2"),
        ("llama", ("dataset.text=[text,answer]",), "dataset.prompt must make one text of a row"),
        ("llama", ("dataset.tokenizer=null",), "dataset.tokenizer must make the tokens of prompts and answers"),
        ("llama", ("model.head=sequence_classification",), "model.head must be causal_lm for answers in words"),
        ("bert", ("adaptation=full",), "model.path must be a decoder"),
        ("llama", ("loss=focal",), "loss"),
        ("llama", ("loss.label_smoothing=0.1",), "loss.label_smoothing"),
        (
            "llama",
            ("task.metric=numeric_match",),
            "task.metric must be defined on the test rows.*no number",
        ),
        ("no_end", (), "dataset.tokenizer must have a token that ends a text.*eos_token"),
        ("no_padding", (), "model.path must have a token of padding"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, model: str, settings: tuple[str, ...], message: str) -> None:
    if model == "no_end":
        tiny_models.tokenizer(tiny_models.llama(folder / model))
    if model == "no_padding":
        config = tiny_models.tokenizer(tiny_models.llama(folder / model), eos_token="[SEP]") / "config.json"
        config.write_text(config.read_text().replace('"pad_token_id": 0', '"pad_token_id": null'))

    def check_all() -> None:
        cell = of(folder, model, *settings)
        check(cell)

    with pytest.raises((ConfigError, DataError), match=message):
        check_all()


def test_other_networks_write_no_answers(folder: Path) -> None:
    data = of(folder, "llama").dataset
    cell = make_cell("model=mlp", "dataset=iris")
    with pytest.raises(ConfigError, match=r"model must be a pretrained decoder for answers in words, not .*mlp"):
        checks.check(cell.config, data)


def test_answers_that_are_all_the_same_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("text,answer\n" + "good,bad\n" * 20)
    with pytest.raises(DataError, match="every answer is the same"):
        of(folder, "llama", f"dataset.path={tmp_path}/films.csv")


def test_flops_of_a_network_with_a_module_under_two_names_leave_it_as_it_was(folder: Path) -> None:
    cell = of(folder, "llama", "adaptation=prompt")
    network = training.network_of(cell.config, cell.dataset)
    columns = cell.dataset.inputs.shape[1]
    assert counting.flops_per_step(network, cell.dataset.kind, 4, columns, tokens=True)
    assert {value.device.type for value in network.parameters()} == {"cpu"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_cuda_device_gives_the_numbers_of_the_cpu(folder: Path) -> None:
    cells = [of(folder, "llama", "trainer.verify=false", f"trainer.accelerator={device}") for device in ("auto", "cpu")]
    on_cuda, on_cpu = (training.train(cell.config, cell.dataset, cell.entrants(0, 1)) for cell in cells)
    for one, other in zip(on_cuda, on_cpu, strict=True):
        assert [point.val_loss for point in one.curve] == pytest.approx(
            [point.val_loss for point in other.curve], rel=1e-3
        )
        assert one.metrics["test/exact_match"] == other.metrics["test/exact_match"]
