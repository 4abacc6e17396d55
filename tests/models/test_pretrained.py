"""Networks with pretrained weights: what is loaded, drawn, shared, adapted, trained and refused."""

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import architectures
import tiny_models
from conftest import make_cell
from evalbench import cost, models, weights
from evalbench.cell import Cell
from evalbench.engine import checks, training
from evalbench.engine.state import fingerprint
from evalbench.errors import ConfigError, DataError
from evalbench.models import features, pretrained
from evalbench.models.pretrained import Pretrained
from plain import train as train_plainly

BODY = 4352
"""The parameters of the tiny encoder."""
TRAINED = {  # by adaptation, with the head's 17 parameters
    "default": BODY + 17,
    "full": BODY + 17,
    "probe": 17,
    "bitfit": 17 + 16 * 9 + 32,
}


ONE_SIZE = ("optimizer.batch_size=9", "trainer.path=batched")
"""Batches of one size, for which a step is traced once."""


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.texts(tmp_path_factory.mktemp("texts") / "films.csv")


def of_texts(path: Path, model: Path, adaptation: str, *more: str) -> Cell:
    tokens = ("dataset.text=[text]", "dataset.text_as=tokens", "dataset.text_features=64", "dataset.text_length=8")
    network = ("model=pretrained", f"model.path={model}", f"adaptation={adaptation}", "optimizer.lr=0.01")
    return make_cell("dataset=csv", f"dataset.path={path}", *tokens, *network, "budget.epochs=2", *more)


def built(cell: Cell, seed: int = 0) -> Pretrained:
    shape = training.shape_of(cell.dataset)
    network = models.build_seeded(
        seed, cell.config.model, cell.config.activation, shape, adaptation=cell.config.adaptation
    )
    assert isinstance(network, Pretrained)
    return network


def base_of(network: Pretrained, cell: Cell) -> nn.Module:
    """Return the network that all networks of a cell share their tensors with."""
    assert network.head == "sequence_classification"
    path = cell.config.model.arguments["path"]
    source = pretrained.Source(path, network.head, cell.dataset.num_outputs, None, None, "sdpa", False)
    base: nn.Module = pretrained._loaded(source)[0]
    return base


def test_a_network_has_the_weights_of_its_folder_and_a_head_of_its_seed(bert: Path, texts: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    cell = of_texts(texts, bert, "default")
    one, again, other = built(cell, 1), built(cell, 1), built(cell, 2)
    assert one.fresh == ("classifier.weight", "classifier.bias")
    plain = AutoModelForSequenceClassification.from_pretrained(bert, num_labels=1).eval()
    assert not torch.equal(plain.classifier.weight, one.network.classifier.weight)
    plain.classifier.load_state_dict(one.network.classifier.state_dict())
    rows = torch.as_tensor(cell.dataset.inputs[:5])
    expected = plain(input_ids=rows, attention_mask=(rows != 0).long()).logits
    assert torch.equal(one.eval()(rows), expected)
    assert torch.equal(one.network.classifier.weight, again.network.classifier.weight)
    assert not torch.equal(one.network.classifier.weight, other.network.classifier.weight)
    pretrained._loaded.cache_clear()  # whichever network is the first to load the weights
    assert torch.equal(built(cell, 1).network.classifier.weight, one.network.classifier.weight)


@pytest.mark.parametrize("adaptation", ["default", "full", "probe", "bitfit", "layernorm", "last_k", "lora", "ia3"])
def test_what_does_not_train_is_shared_and_what_trains_is_a_networks_own(
    bert: Path, texts: Path, adaptation: str
) -> None:
    cell = of_texts(texts, bert, adaptation)
    first, second = built(cell), built(cell, 1)
    shared = {value.data_ptr() for value in base_of(first, cell).parameters()}
    others = {value.data_ptr() for value in second.parameters()}
    for name, value in first.named_parameters():
        if value.requires_grad:
            assert value.data_ptr() not in shared | others, name
        elif "original_module" not in name:  # a head that PEFT keeps beside the one that trains
            assert value.data_ptr() in shared & others, name
    trained = sum(value.numel() for value in first.parameters() if value.requires_grad)
    assert trained == TRAINED.get(adaptation, trained)


@pytest.mark.parametrize(
    "adaptation", ["full", "probe", "bitfit", "layernorm", "last_k", "lora", "dora", "ia3", "prompt"]
)
@pytest.mark.slow
def test_a_cohort_trains_as_one_network_and_as_a_plain_loop(bert: Path, texts: Path, adaptation: str) -> None:
    cell = of_texts(texts, bert, adaptation, "trainer.verify=false", *ONE_SIZE)
    before = {name: fingerprint(value) for name, value in base_of(built(cell), cell).named_parameters()}
    together = training.train(cell.config, cell.dataset, cell.entrants(*range(4)))
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(2))
    plain = train_plainly(cell, 2)
    assert together[0].path is not None
    assert together[0].path["name"] == "batched"
    losses = [[point.val_loss for point in result.curve] for result in (together[2], alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] == pytest.approx(plain.val_losses, rel=1e-5)
    assert losses[0][0] != losses[0][1]
    assert together[2].metrics == pytest.approx(alone.metrics, rel=1e-5)
    assert {name: fingerprint(value) for name, value in base_of(built(cell), cell).named_parameters()} == before


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        (("adaptation._target_=peft.VeraConfig", "+adaptation.r=8"), "batched"),
        (("adaptation._target_=peft.LoKrConfig", "+adaptation.target_modules=[query]"), "one by one"),
    ],
)
@pytest.mark.slow
def test_other_configurations_of_peft_train_as_a_plain_loop(
    bert: Path, texts: Path, settings: tuple[str, ...], path: str
) -> None:
    cell = of_texts(texts, bert, "own", *settings, *ONE_SIZE)
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    assert results[1].path is not None
    assert results[1].path["name"] == path
    assert [point.val_loss for point in results[1].curve] == pytest.approx(train_plainly(cell, 1).val_losses, rel=1e-5)


@pytest.mark.parametrize(
    ("architecture", "technique", "ended"),
    [
        ("Qwen2", "lora", "cohort"),
        ("MPNet", "ia3", "cohort, all-linear"),  # without torch's attention, and of layers that PEFT does not know
        ("ConvNext", "last_k", "cohort"),
        ("Mistral", "bitfit", "– adaptation must find biases in the network MistralForSequenceClassification"),
        ("ViT", "prompt", "– adaptation must not put vectors before the tokens of a text"),
    ],
)
@pytest.mark.slow
def test_architectures_train_as_the_documented_table_says(
    architecture: str, technique: str, ended: str, texts: Path, tmp_path: Path
) -> None:
    model = architectures.saved(tmp_path / "model", architecture)
    assert architectures.outcome(model, architecture, technique, texts).startswith(ended)


@pytest.mark.slow
def test_a_cohort_holds_the_base_once(bert: Path, texts: Path) -> None:
    cell, biases = of_texts(texts, bert, "bitfit"), TRAINED["bitfit"] - 17
    for members in (1, 9):  # built one by one, and drawn at once
        cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(*range(members)))
        assert cohort.why_one_by_one is None
        assert cohort.state_bytes == members * (17 + biases) * 4
        assert cohort.constant_bytes == (BODY - biases) * 4 + 32 * 16  # and the numbers of positions


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.slow
def test_a_probe_on_stored_features_is_a_probe_on_the_whole_network(
    texts: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = getattr(tiny_models, kind)(tmp_path / "model")
    cell = of_texts(texts, model, "probe", "trainer.verify=false", "budget.epochs=1", *ONE_SIZE)
    on_features = training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=tmp_path / "w" / "cell")
    seen = training._seen_by_head(cell.config, cell.dataset)
    assert seen is not None
    assert seen.dataset.inputs.shape == (60, 8 + (16 if kind == "bert" else 8 * 16))
    monkeypatch.setattr(features, "MOST_BYTES", 0)
    again = of_texts(texts, model, "probe", "trainer.verify=false", "budget.epochs=1", *ONE_SIZE)
    again.dataset.derived.clear()
    whole = training.train(again.config, again.dataset, again.entrants(0, 1))
    for one, other in zip(on_features, whole, strict=True):
        assert one.curve[0].val_loss == pytest.approx(other.curve[0].val_loss, rel=1e-6)
        assert one.metrics == pytest.approx(other.metrics, rel=1e-6)
        assert one.parameters == other.parameters
    loaded = weights.load(tmp_path / "w" / "cell" / "s0")
    test_rows = training._split(cell.config, cell.dataset, cell.entrants(0)[0]).test
    right = loaded(torch.as_tensor(cell.dataset.inputs[test_rows])).argmax(1).numpy() == cell.dataset.targets[test_rows]
    assert right.mean() == on_features[0].metrics["test/accuracy"]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_peft_by_itself_gives_the_same_outputs(bert: Path, texts: Path) -> None:
    import peft
    from transformers import AutoModelForSequenceClassification

    cell = of_texts(texts, bert, "lora", "adaptation.r=2")
    ours = built(cell).eval()
    base = AutoModelForSequenceClassification.from_pretrained(bert, num_labels=1)
    config = peft.LoraConfig(r=2, lora_alpha=16, task_type="SEQ_CLS")
    plain = peft.get_peft_model(base, config).eval()
    trained = {name: value for name, value in ours.network.named_parameters() if value.requires_grad}
    assert trained.keys() == {name for name, value in plain.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for name, value in trained.items():
            plain.get_parameter(name).copy_(value.normal_())
    rows = torch.as_tensor(cell.dataset.inputs[:5])
    assert torch.equal(ours(rows), plain(input_ids=rows, attention_mask=(rows != 0).long()).logits)


def test_padding_changes_nothing(bert: Path, texts: Path) -> None:
    network = built(of_texts(texts, bert, "probe")).eval()
    rows = torch.randint(1, 80, (3, 5))
    padded: Tensor = network(torch.nn.functional.pad(rows, (0, 3)))
    assert torch.allclose(padded, network(rows), atol=1e-6)


@pytest.mark.slow
def test_decoders_predict_tokens_and_images_are_classified(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("to be or not to be " * 40)
    language = make_cell(
        "dataset=text",
        f"dataset.path={tmp_path}/text.txt",
        "dataset.length=8",
        "model=pretrained",
        f"model.path={tiny_models.llama(tmp_path / 'llama')}",
        "adaptation=lora",
    )
    with pytest.raises(ConfigError, match="outputs"):
        checks.check(language.config, language.dataset)  # a vocabulary of 97 characters
    images = make_cell(
        "dataset=digits",
        "model=pretrained",
        f"model.path={tiny_models.vit(tmp_path / 'vit')}",
        "adaptation=lora",
        "adaptation.target_modules=all-linear",
        "budget.epochs=1",
    )
    checks.check(images.config, images.dataset)


def test_a_moved_folder_is_the_same_model_and_changed_weights_are_another(
    bert: Path, texts: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(bert, tmp_path / "moved")
    identities = [of_texts(texts, folder, "probe").config.identity for folder in (bert, moved)]
    assert identities[0] == identities[1]
    assert str(bert) not in str(identities[0])
    tiny_models.bert(moved, dropout=0.2)
    assert of_texts(texts, moved, "probe").config.identity != identities[0]
    assert of_texts(texts, bert, "bitfit").config.identity != identities[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("adaptation=last_k", "adaptation.layers=2"), "adaptation.layers must be a whole number from 1 to 1, not 2"),
        (("adaptation=lora", "adaptation.target_modules=[nothing]"), "adaptation must fit .* No modules were targeted"),
        (("model.path=no/such",), "model.path must be a folder, or the name of a model"),
        (("model.path=.", "model.gguf_file=no.gguf"), "model.gguf_file must be a GGUF file"),
        (("model.head=nothing",), "model.head must be one of sequence_classification"),
        (("dataset.text_features=1000",), "model.path must know all 1,000 tokens"),
        (("dataset.text_as=words",), "needs tokens or images"),
        (("adaptation=own", "adaptation._target_=peft.PeftModel"), "adaptation._target_ must be a configuration"),
        (("adaptation=own", "adaptation._target_=peft.LoraConfig", "+adaptation.rank=4"), "rank"),
    ],
)
def test_what_does_not_fit_is_refused(
    bert: Path, texts: Path, change: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=message):
        checks.check((cell := of_texts(texts, bert, "probe", *change)).config, cell.dataset)


def test_a_path_that_another_setting_needs_must_be_given(texts: Path) -> None:
    given = ("model=pretrained", "dataset=csv", f"dataset.path={texts}", "dataset.tokenizer=${model.path}")
    with pytest.raises(ConfigError, match=r"must be given: add model\.path=VALUE to the command line"):
        make_cell(*given)


@pytest.mark.slow
def test_tokens_must_be_those_of_the_network(bert: Path, texts: Path, tmp_path: Path) -> None:
    cell = of_texts(texts, bert, "probe")
    with pytest.raises(ConfigError, match="must be the tokenizer of the network"):
        checks.check(cell.config, cell.dataset)
    model, other = shutil.copytree(bert, tmp_path / "model"), tmp_path / "other"
    tiny_models.tokenizer(model)
    tiny_models.tokenizer(other, mask_token="[UNK]")
    tokens = ("dataset.text=[text]", "dataset.text_as=tokens", "dataset.text_length=8")
    network = ("model=pretrained", f"model.path={model}", "adaptation=probe")
    for path, is_right in ((model, True), (other, False)):
        cell = make_cell("dataset=csv", f"dataset.path={texts}", *tokens, *network, f"dataset.tokenizer={path}")
        with nullcontext() if is_right else pytest.raises(ConfigError, match="must be that of model"):
            checks.check(cell.config, cell.dataset)


def test_other_networks_have_nothing_to_adapt() -> None:
    cell = make_cell("dataset=wine", "adaptation=probe")
    with pytest.raises(ConfigError, match="adaptation needs a network with pretrained weights"):
        checks.check(cell.config, cell.dataset)


def test_a_folder_without_safetensors_is_refused(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ConfigError, match="must hold weights as safetensors"):
        of_texts(texts, tmp_path, "probe").config.identity  # noqa: B018 - reads the files


def test_prompts_before_a_decoder_that_classifies_are_refused(texts: Path, tmp_path: Path) -> None:
    cell = of_texts(texts, tiny_models.llama(tmp_path / "llama"), "prompt")
    with pytest.raises(ConfigError, match="must not put vectors before the tokens of a decoder"):
        built(cell)


@pytest.mark.parametrize("adaptation", ["full", "lora"])
@pytest.mark.slow
def test_saved_trials_hold_what_trains_and_predict_the_same(
    bert: Path, texts: Path, adaptation: str, tmp_path: Path
) -> None:
    model = shutil.copytree(bert, tmp_path / "model")
    cell = of_texts(texts, model, adaptation, "trainer.verify=false", "save=all", "budget.epochs=1")
    training.train(cell.config, cell.dataset, cell.entrants(0), keep_in=tmp_path / "weights" / "cell")
    loaded = weights.load(tmp_path / "weights" / "cell" / "s0")
    rows = torch.as_tensor(cell.dataset.inputs[:6])
    saved = load_file(tmp_path / "weights" / "cell" / "s0" / weights.WEIGHTS)
    assert sum(value.numel() for name, value in saved.items() if name.startswith("network.")) == sum(
        value.numel() for value in loaded.network.parameters() if value.requires_grad
    )
    ((measured,),) = cost.measure([(cell.config, cell.dataset)], 1)
    assert measured.checkpoint_bytes == sum(4 * value.numel() for name, value in saved.items() if "network." in name)
    assert (measured.peak_memory_bytes or 0) > 4 * BODY + 2 * measured.checkpoint_bytes
    (base,) = (tmp_path / "weights" / weights.BASES).iterdir()
    assert base.stat().st_size < BODY  # the numbers of positions, and the head that PEFT keeps
    plain = built(cell, 1).eval()
    with torch.no_grad():
        for name, value in plain.named_parameters():
            if value.requires_grad:
                value.copy_(saved[f"network.{name}"])
        assert torch.allclose(loaded(rows)[:, 1], torch.sigmoid(plain(rows)[:, 0]).double())
    tiny_models.bert(model, dropout=0.3)
    with pytest.raises(DataError, match="as they were when it was saved"):
        weights.load(tmp_path / "weights" / "cell" / "s0")
    shutil.rmtree(model)
    with pytest.raises(DataError, match="correct the path in this file"):
        weights.load(tmp_path / "weights" / "cell" / "s0")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    "adaptation", ["full", "probe", "bitfit", "lora", "prompt", "dora model.gradient_checkpointing=true"]
)
def test_a_cuda_device_gives_the_numbers_of_the_cpu(bert: Path, texts: Path, adaptation: str, precision: str) -> None:
    curves = []
    for device, number in (("auto", precision), ("cpu", "32-true")):
        chosen = ("trainer.verify=false", f"trainer.accelerator={device}", f"trainer.precision={number}", *ONE_SIZE)
        cell = of_texts(texts, bert, *adaptation.split(), *chosen, "budget.epochs=6")
        results = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))
        curves.append([point.val_loss for result in results for point in result.curve])
    assert curves[0] == pytest.approx(curves[1], rel=1e-3 if precision == "32-true" else 5e-2)


@pytest.mark.slow
def test_a_saved_trial_runs_no_foreign_code(bert: Path, texts: Path, tmp_path: Path) -> None:
    cell = of_texts(texts, bert, "probe", "trainer.verify=false", "save=all", "budget.epochs=1")
    training.train(cell.config, cell.dataset, cell.entrants(0), keep_in=tmp_path / "cell")
    file = tmp_path / "cell" / "s0" / weights.DESCRIPTION
    description = file.read_text()
    file.write_text(description.replace("evalbench.models.adaptation.probe", "os.system"))
    with pytest.raises(DataError, match="must be adapted by"):
        weights.load(file.parent)
    file.write_text(description.replace('"trust_remote_code": false', '"trust_remote_code": true'))
    with pytest.raises(DataError, match="must not need Python code"):
        weights.load(file.parent)
