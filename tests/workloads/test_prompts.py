"""Prompts: texts that a Jinja template makes of the cells of a row."""

import json
from pathlib import Path

import pandas as pd
import pytest

import tiny_models
from conftest import make_cell
from evalbench.engine import checks
from evalbench.errors import ConfigError
from evalbench.weights import new_rows
from evalbench.workloads import tokenizers
from evalbench.workloads.frames import table
from evalbench.workloads.preprocessing import Encoding
from evalbench.workloads.prompts import PROMPT, Prompt

TEMPLATE = "the {{ text }}\n{% if place_of_it %}not {{ place_of_it }}{% endif %}"


def frame() -> pd.DataFrame:
    columns = {"text": ["good film", "{{ 7 * 7 }} bad"] * 15, "place of it": [3.0, None] * 15, "unused": [1, 2] * 15}
    return pd.DataFrame({**columns, "label": ["yes", "no"] * 15})


def test_a_template_makes_a_text_of_each_row_and_no_cell_runs_as_one() -> None:
    raw = new_rows._raw(frame(), "frame", Encoding(), [])
    prompts = Prompt.of(TEMPLATE, ["text", "place of it"]).added(raw).columns[PROMPT].values
    assert prompts[:2].tolist() == ["the good film\nnot 3", "the {{ 7 * 7 }} bad\n"]


def test_the_prompt_is_the_only_input_and_new_rows_get_the_same(tmp_path: Path) -> None:
    model = str(tiny_models.tokenizer(tiny_models.bert(tmp_path / "bert")))
    settings = {"text_as": "tokens", "tokenizer": model, "text_length": 12}
    made = table(frame(), "films", prompt=TEMPLATE, **settings)
    texts = ["the good film\nnot 3", "the {{ 7 * 7 }} bad\n"]
    assert made.inputs[:2].tolist() == tokenizers.tokens(texts, model, 12)[0].tolist()
    assert "prompts are made of text, place of it; columns that are not used: unused" in made.description
    assert made.encoding is not None
    encoding = Encoding.read(json.loads(json.dumps(made.encoding.spec())))
    given = new_rows.read(frame()[:2].drop(columns=["label", "unused"]), encoding, made.kind)
    assert given.inputs.tolist() == made.inputs[:2].tolist()
    other = table(frame(), "films", prompt=TEMPLATE + " ", **settings)
    assert made.inputs.tolist() == other.inputs.tolist()
    assert made.fingerprint != other.fingerprint


def test_a_command_line_and_a_file_say_the_same_prompt(tmp_path: Path) -> None:
    tiny_models.texts(tmp_path / "films.csv")
    lines = (tmp_path / "films.csv").read_text().splitlines()
    lines[1] = '"good,\nfine\nfilm",yes'  # a cell of several lines
    (tmp_path / "films.csv").write_text("\n".join(lines))
    (tmp_path / "prompt.txt").write_text("film: {{ text }}\ngood?\n")
    said = [r'dataset.prompt="film: {{ text }}\ngood?"', f"dataset.prompt_file={tmp_path}/prompt.txt"]
    for text_as in ("tokens", "words"):
        cells = [
            make_cell("dataset=csv", f"dataset.path={tmp_path}/films.csv", f"dataset.text_as={text_as}", prompt)
            for prompt in said
        ]
        assert cells[0].dataset.fingerprint == cells[1].dataset.fingerprint
        encoding = cells[0].dataset.encoding
        assert encoding is not None
        assert encoding.prompt is not None
        assert encoding.prompt.template == "film: {{ text }}\ngood?"
        assert cells[0].dataset.features[0].startswith(PROMPT)
    checks.check(cells[1].config, cells[1].dataset)  # counted words are numbers for any network


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"prompt": "{{ label }}"},
            r"dataset.prompt .* which 'label' is not.*names are 'text', 'place_of_it', 'unused'",
        ),
        ({"prompt": "{{ range(3) }}"}, "which 'range' is not"),
        ({"prompt": "{{ unused }}", "drop": ["unused"]}, "which 'unused' is not"),
        ({"prompt": "{{ text "}, "dataset.prompt must be a Jinja template"),
        ({"prompt": "good?"}, "dataset.prompt must use a column.*for example {{ text }}"),
        ({"prompt": " "}, "dataset.prompt must be text"),
        ({"prompt": "{{ text.__class__.mro() }}"}, "must fit row 0 of films.*unsafe"),
        ({"prompt": "{{ 1 / text }}"}, "must fit row 0 of films.*unsupported operand"),
        ({"prompt": "{{ text }}", "prompt_file": "a.txt"}, "dataset.prompt_file must be left out"),
        ({"prompt_file": "no/such.txt"}, "dataset.prompt_file must be a file of text in UTF-8"),
        ({"prompt": "{{ text }}", "tokens": "text"}, "dataset.prompt must be left out for lists of tokens"),
    ],
)
def test_wrong_prompts_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        table(frame(), "films", text_as="tokens", **settings)
