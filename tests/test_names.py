"""Foreign names: shown literally in Markdown, never the same file, never a formula."""

import re
from itertools import combinations

import pytest
from markdown_it import MarkdownIt
from rich.table import Table

from evalbench.console import plain_console as console
from evalbench.names import code, fenced, file_name, from_cell, one_line, plain, to_cell

HOSTILE = (
    '<img src=x onerror="document.title=1">',
    "\n\n<script>document.title=1</script>\n\n# x",
    "</title></style></script><svg/onload=document.title=1>",
    "[x](javascript:document.title=1) [x]: javascript:1",
    "![x](http://127.0.0.1:9/x.png) ![x](figures/scores.png) ![x](figures/../../x.png)",
    "<http://127.0.0.1:9/> http://127.0.0.1:9/ www.example.org",
    "`|`` a | b \\| \\ **x** __y__ _z_ ~~w~~ &lt;b&gt; &#60; $v$ ``` #",
    '" onload="document.title=1" \'',
    "[red]x[/red] [/] :boom: {x} {{ x }} {% x %}",
    "\x1b[31m\u202e\u200b\x07",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_literally(name: str) -> None:
    for template in ("# {}", "a {} b", "- **{}**.", "![{}](x.png)", "| a | b |\n| - | - |\n| {} | c |"):
        check_shown(name, template.format(plain(name)))
        check_shown(name, template.format(code(name)))


def check_shown(name: str, written: str) -> None:
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(written)
    inline = [token for token in tokens if token.type == "inline"]
    children = [child for token in inline for child in token.children or ()]
    allowed = {"text", "code_inline", "strong_open", "strong_close", "image"}
    assert {child.type for child in children} <= allowed
    texts = ["".join(child.content for child in token.children or ()) for token in inline]
    shown = children[0].children if children[0].type == "image" else None
    texts += ["".join(child.content for child in shown)] if shown else []
    assert any(one_line(name) in text for text in texts)
    assert len(inline) == (4 if written.startswith("|") else 1)


def test_ordinary_words_stay_readable() -> None:
    words = "U.S. census (1990): 20_000 rows, 5 % of R² – see https"
    assert plain(words) == words
    assert code("a_b") == "`a_b`"


def test_nothing_ends_a_block_of_code_but_its_fence() -> None:
    (block,) = MarkdownIt().parse(fenced("a\n```\n~~~~\n````\n<b>", "sh"))
    assert (block.type, block.content) == ("fence", "a\n```\n~~~~\n````\n<b>\n")


def test_file_names_stay_in_their_folder_and_never_collide() -> None:
    names = [*HOSTILE, "../../x", "..", ".", "", "/etc/x", "a/b", "a b", "a-b", "é", "e", "-rf", ".x", "x" * 300]
    names += ["x" * 301, "CON:", "a\\b", "a\0b", "x" * 100]
    file_names = {name: file_name(name) for name in names}
    assert len(set(file_names.values())) == len(names)
    for name in file_names.values():
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name)
    assert file_names["a-b"] == "a-b"
    assert file_name("optimizers-1a2b", "sgd", "digits", "study0-c1-s3") == "optimizers-1a2b-sgd-digits-study0-c1-s3"


def test_parts_of_a_file_name_keep_their_borders() -> None:
    parts = [("e", "a", "b-c", "s"), ("e", "a-b", "c", "s"), ("e", "a", "b/c", "s"), ("e", "a", "b c", "s")]
    for left, right in combinations(parts, 2):
        assert file_name(*left) != file_name(*right)


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\tx", "\uff1dx", "'=x", "''@x", "'-1", "-1 to 1", "=-1"])
def test_no_cell_is_a_formula_and_each_cell_is_read_back(text: str) -> None:
    written = str(to_cell(text))
    assert written == f"'{text}"
    assert from_cell(written) == text


@pytest.mark.parametrize("value", ["x", "-1", "+1.5e3", "-inf", "'x'", "'", "", -1, 2.5, None])
def test_numbers_and_ordinary_words_are_written_as_they_are(value: object) -> None:
    assert to_cell(value) == value
    assert not isinstance(value, str) or from_cell(value) == value


def test_the_terminal_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[red]x[/red]")
    table.add_row("[/] :boom:")
    console().print(table, "[b]")
    out = capsys.readouterr().out
    assert all(text in out for text in ("[red]x[/red]", "[/] :boom:", "[b]"))
