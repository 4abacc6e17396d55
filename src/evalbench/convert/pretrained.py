"""A network of Transformers as a folder that Transformers or PEFT load, with a head as their pipelines take it.

Shapes: `B` rows, `K` outputs, `D` inputs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evalbench.config.pretrained import folder_of
from evalbench.convert.tensors import INPUTS, write_scaling
from evalbench.convert.trained import Trained, Written
from evalbench.errors import InputError
from evalbench.models.answers import begun, scored
from evalbench.models.pretrained import HEADS, Pretrained, Source, quiet, read
from evalbench.tasks.generation import Generation
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads import Kind
from evalbench.workloads.text_inputs import TokenizerInput

PROBLEMS = {
    Kind.BINARY.name: "single_label_classification",
    Kind.MULTICLASS.name: "single_label_classification",
    Kind.MULTILABEL.name: "multi_label_classification",
    Kind.REGRESSION.name: "regression",
    Kind.MULTI_OUTPUT.name: "regression",
    Kind.TOKEN_CLASSIFICATION.name: None,
}
"""By a task with a new head, what Transformers calls its kind of problem; None: it has no word for it."""
OTHERS = "use --to torch-export or onnx"


def write_network(trained: Trained, folder: Path) -> Written:
    """Write a folder that Transformers load, with the tokenizer of its texts; read it back."""
    import transformers

    ours = _pretrained(trained)
    if _is_of_peft(ours.network):
        use = f"--to peft, which keeps the added tensors alone; the adaptation is {_adaptation(trained)}"
        raise InputError(f"--to safetensors takes a network without tensors of PEFT: use {use}")
    _fit_head(ours, trained)
    kind = getattr(transformers, HEADS[ours.head])
    with quiet(transformers):
        ours.network.save_pretrained(folder)
        _save_tokenizer(trained, folder)
        network = kind.from_pretrained(folder).eval()
    scaling = write_scaling(trained, folder, [] if trained.takes_tokens else [INPUTS])
    return Written(_predicting(network, trained), lambda at: f"{kind.__name__}.from_pretrained({str(at)!r})", scaling)


def write_adapter(trained: Trained, folder: Path) -> Written:
    """Write a folder that PEFT loads: the added tensors and the new head; read them back."""
    ours = _pretrained(trained)
    if not _is_of_peft(ours.network):
        use = f"--to safetensors, which keeps the whole network; the adaptation is {_adaptation(trained)}"
        raise InputError(f"--to peft takes an adaptation of PEFT, such as lora: use {use}")
    import peft
    import transformers

    _fit_head(ours, trained)
    for config in ours.network.peft_config.values():
        config.base_model_name_or_path = base_path(trained)
        config.revision = trained.description["model"].get("revision")
    with quiet(transformers):
        ours.network.save_pretrained(folder)
        network, _ = read(_source(trained, ours.head))
        network = peft.PeftModel.from_pretrained(network, folder).eval()
    scaling = write_scaling(trained, folder, [] if trained.takes_tokens else [INPUTS])
    loading = _base_loading(trained, ours.head)
    return Written(
        _predicting(network, trained), lambda at: f"PeftModel.from_pretrained({loading}, {str(at)!r})", scaling
    )


def base(trained: Trained) -> dict[str, Any]:
    """Return where the pretrained weights are, and the hashes of their files."""
    return {"path": base_path(trained), "files": trained.description["files"]}


def base_path(trained: Trained) -> str:
    """Return the whole path of the folder with the pretrained weights, or their name on a hub."""
    path = str(trained.description["model"]["path"])
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def _base_loading(trained: Trained, head: str) -> str:
    """Return Python that loads the pretrained network with a head of the right size."""
    settings = trained.description["model"]
    given = {key: settings[key] for key in ("revision", "gguf_file") if settings.get(key)}
    if trained.predictor.task.name in PROBLEMS:
        given["num_labels"] = _num_labels(trained)
    words = "".join(f", {key}={value!r}" for key, value in {**given, "dtype": "float32"}.items())
    return f"{HEADS[head]}.from_pretrained({base_path(trained)!r}{words})"


def _pretrained(trained: Trained) -> Pretrained:
    network = trained.predictor.network
    if not isinstance(network, Pretrained):
        raise InputError("--to peft takes a network of model=pretrained: use --to safetensors, torch-export or onnx")
    if bits := trained.description["model"].get("bits"):
        raise InputError(f"Transformers would not read weights of {bits} bits as these are: {OTHERS}")
    return network


def _is_of_peft(network: nn.Module) -> bool:
    return hasattr(network, "peft_config")


def _adaptation(trained: Trained) -> str:
    return str((trained.description.get("adaptation") or {}).get("_target_", "default"))


def _num_labels(trained: Trained) -> int:
    is_binary = trained.predictor.task is Kind.BINARY
    return 2 if is_binary else int(trained.description["out_features"])


def _source(trained: Trained, head: str) -> Source:
    """Return where the pretrained weights are, with as many labels as the head is to have."""
    settings = trained.description["model"]
    attention = settings.get("attention", "sdpa")
    revision, gguf_file = settings.get("revision"), settings.get("gguf_file")
    return Source(settings["path"], head, _num_labels(trained), revision, gguf_file, attention, trusted=False)


def _fit_head(ours: Pretrained, trained: Trained) -> None:
    """Have the head give what pipelines of Transformers take, and name its outputs.

    They want a logit for each of two classes, so the first class gets one that is always 0; and numbers in the target's
    own unit.
    """
    task, predictor = trained.predictor.task, trained.predictor
    if task.answers or task.name == Kind.LANGUAGE.name:
        return  # the head is that of the pretrained network
    if task.name not in PROBLEMS:
        raise InputError(f"Transformers have no head for the task {task.name}: {OTHERS}")
    body = ours.network.get_base_model() if _is_of_peft(ours.network) else ours.network
    outputs = int(trained.description["out_features"])
    layers = [layer for layer in body.modules() if isinstance(layer, nn.Linear) and layer.out_features == outputs]
    if task is Kind.BINARY or task.scales_targets:
        if not layers or (_is_of_peft(ours.network) and not ours.fresh):
            raise InputError(f"the network has no new linear layer that gives its outputs: {OTHERS}")
        if task is Kind.BINARY:
            _add_first_class(layers[-1])
        else:
            _unscale(layers[-1], predictor.target_mean.reshape(-1), predictor.target_std.reshape(-1))
    names = predictor.signature.classes or tuple(f"LABEL_{number}" for number in range(outputs))
    body.config.problem_type = PROBLEMS[task.name]
    body.config.id2label = dict(enumerate(names))
    body.config.label2id = {name: number for number, name in enumerate(names)}


def _add_first_class(layer: nn.Linear) -> None:
    layer.weight = nn.Parameter(torch.cat([torch.zeros_like(layer.weight), layer.weight]))
    if layer.bias is not None:
        layer.bias = nn.Parameter(torch.cat([torch.zeros_like(layer.bias), layer.bias]))
    layer.out_features = 2


def _unscale(layer: nn.Linear, mean: Tensor, std: Tensor) -> None:
    if layer.bias is None:
        raise InputError(f"the head has no bias, so that it cannot give the target's own unit: {OTHERS}")
    layer.weight = nn.Parameter(layer.weight * std[:, None])
    layer.bias = nn.Parameter(layer.bias * std + mean)


def _save_tokenizer(trained: Trained, folder: Path) -> None:
    """Save the tokenizer of the texts, if they had the model's own, with the length of the training."""
    import transformers

    encoding = trained.predictor.signature.encoding
    for column in () if encoding is None else encoding.columns:
        if isinstance(column, TokenizerInput):
            path = folder_of(column.path, key="dataset.tokenizer")
            transformers.AutoTokenizer.from_pretrained(path, model_max_length=column.length).save_pretrained(folder)


def _predicting(network: Any, trained: Trained) -> Callable[[Tensor], Tensor]:
    """Return predictions of a network of Transformers as its pipelines make them."""
    predictor, image = trained.predictor, trained.description["image"]
    padding = getattr(network.config.get_text_config(), "pad_token_id", None)
    if predictor.task is Kind.NEXT_TOKEN:
        return lambda rows: scored(network, rows, padding, int(trained.description["out_features"])).double()
    if isinstance(predictor.task, Generation) and padding is not None:
        return _writing(network, predictor.task, padding, int(trained.description["out_features"]))

    def predict(rows: Tensor) -> Tensor:
        if image is not None:
            pixels = predictor.prepared(rows).to(network.dtype)
            logits: Tensor = network(pixel_values=pixels.reshape(-1, *image)).logits
        else:
            seen = torch.ones_like(rows) if padding is None else (rows != padding).long()
            logits = network(input_ids=rows, attention_mask=seen).logits
        several = predictor.task.per_column
        if not predictor.task.is_classification:
            return logits if several else logits.squeeze(-1)
        return logits.sigmoid() if several else logits.softmax(-1)

    return predict


def _writing(network: Any, task: Generation, padding: int, length: int) -> Callable[[Tensor], Tensor]:
    """Return predictions of a network of Transformers that writes answers of at most some tokens by its `generate`."""

    def predict(rows: Tensor) -> Tensor:
        likelihoods = scored(network, rows, padding, length)[..., 0]
        prompts = rows[:, :-length]
        settings = {"do_sample": False, "num_beams": 1, "max_new_tokens": length, "eos_token_id": task.end}
        tokens = network.generate(
            input_ids=prompts, attention_mask=begun(prompts, padding), pad_token_id=padding, **settings
        )[:, prompts.shape[1] :]
        written = F.pad(tokens, (0, length - tokens.shape[1]), value=NO_TARGET)
        is_end = written == task.end
        behind = is_end.cumsum(-1) - is_end.long() > 0
        return torch.stack([likelihoods, torch.where(behind, NO_TARGET, written)], dim=-1).double()

    return predict
