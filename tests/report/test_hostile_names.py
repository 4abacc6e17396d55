"""Whatever others have named is shown as it is: no markup, no script, no request, in any field of any input."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from evalbench.names import one_line
from evalbench.record.foreign import load_table
from evalbench.record.options import Options
from evalbench.record.tables import read_table
from evalbench.report import Report, read, write_index
from evalbench.report.analysis.findings import find
from evalbench.report.page import PAGE, first_screen, folded, interactive
from evalbench.report.render import html
from report.test_tuned import tune
from test_names import HOSTILE

Make = Callable[..., Path]


MARK = "Ω"
ATTACK = MARK + " ".join(HOSTILE)
"""Every way in at once; the mark tells where a page shows it."""
TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "strong", "em", "code", "pre"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "div", "ul", "li", "figure", "summary", "details", "nav", "main"}
TAGS |= {"h4", "h5", "aside", "section", "label", "input", "output", "dl", "dt", "dd", "script"}
OURS = {"class", "style", "lang", "open", "hidden"}
ADDRESS = re.compile(r"#?[a-z][a-z0-9-]*")
ATTRIBUTES = {
    "id": ADDRESS,
    "data-plot": re.compile(r"\w+"),
    "data-filter": ADDRESS,
    "type": re.compile("search|application/json"),
    "nonce": re.compile("[0-9a-f]{32}"),
    "src": re.compile(r"(\.\./)?plotly-[\d.]+\.min\.js"),
    "defer": re.compile(""),
}
"""What an attribute of ours may be."""
KEYWORDS = {"kind", "metric", "direction", "state"}
"""Fields whose values are ours; others are refused."""
FOLD = re.compile(r"<details(?: open)?><summary><b>[\w ,]+</b></summary>|</details>")
"""What folds a chapter of `report.md`: the only HTML in it."""
CHOICES = {"choices", "optimizer.batch_size"}


class Page(HTMLParser):
    """A page as a browser reads it: what it shows, and whether that is all."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.shown, self.within, self.data = "", "", ""
        self.nonces: set[str] = set()
        self.strangers: list[object] = []
        self.feed(source)
        (self.nonce,) = re.findall("script-src 'nonce-([0-9a-f]{32})'; img-src data:;", source) or [""]
        if self.nonces - {self.nonce}:
            self.strangers.append(self.nonces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.shown += given.pop("alt", "")
        self.within = "data" if given.get("id") == "page-data" else tag
        if tag == "script":
            self.nonces.add(given.get("nonce", ""))
        if tag == "img":
            whole = given.pop("src").startswith("data:image/png;base64,")
        elif tag == "a":
            whole = link(given)
        else:
            whole = tag in TAGS or tag == "meta"
            given = {} if tag == "meta" else {name: value for name, value in given.items() if name not in OURS}
            given = {k: v for k, v in given.items() if not (k in ATTRIBUTES and ATTRIBUTES[k].fullmatch(v))}
        if given or not whole:
            self.strangers.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "data":
            self.data += data
        elif self.within not in ("script", "style"):
            self.shown += data


def link(given: dict[str, str]) -> bool:
    """A link leads into the page, to a file of the report, or to a CSV within it."""
    address = given.pop("href")
    if address.startswith("#"):
        given.pop("class", None)
        given.pop("title", None)
        return ADDRESS.fullmatch(address) is not None
    whole = address.startswith("data:text/csv;base64,") or html.OWN.fullmatch(address) is not None
    whole = whole and re.fullmatch("file-[a-z0-9-]+", given.pop("id", "file-x")) is not None
    return whole and html.OWN.fullmatch("numbers/" + given.pop("download", "x.csv")) is not None


def drawn(values: Any, key: str = "") -> Iterator[str]:
    """The texts that Plotly shows; those of cards and titles are shown as they are."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield from (
                drawn(value, name) if name not in ("hover", "title", "rows", "columns", "techniques") else texts(value)
            )
    elif isinstance(values, list):
        for value in values:
            yield from drawn(value, key)
    elif isinstance(values, str):
        yield values


def texts(title: Any) -> Iterator[str]:
    """The title of an axis; that of a panel is no text of Plotly's."""
    if isinstance(title, dict):
        yield title["text"]


def check(report: Report, folder: Path) -> None:
    """The page and its Markdown hold nothing of others but text, all of it."""
    (folder / "figures").mkdir(exist_ok=True)
    for name in (chart.name for section in PAGE for chart in section.charts):
        (folder / "figures" / f"{name}.png").write_bytes(b"PNG")
    first = first_screen(report.findings)
    numbers = {name: report.frame(f"figures/{name}") for name in report.figures}
    figures = interactive(report.findings, numbers, standalone=False)
    page = Page(html.page(first, folder, folded(report.findings, first), figures))
    markdown = report.markdown
    assert not page.strangers
    assert not set("<>&\u2028") & set(page.data)
    data = json.loads(page.data)
    plots = [data["plots"], data["looks"]]
    assert plots
    assert [text for text in drawn(plots) if re.search("<(?!br>)|&(?!amp;|lt;|gt;)", text)] == []
    _, *places = " ".join(page.shown.split()).split(MARK)
    rest = one_line(ATTACK).removeprefix(MARK)
    assert places
    assert [place[: len(rest)] for place in places if not place.startswith(rest)] == []
    tokens = flat(MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown))
    kinds = {token.type for token in tokens if not FOLD.fullmatch(token.content.strip())}
    assert not kinds & {"html_block", "html_inline", "hr", "blockquote_open", "ordered_list_open"}


def flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from flat(token.children or [])


def poisoned(value: Any, names: set[str], key: str = "") -> Any:
    """Every text of an input with the attack behind it, and every key that somebody named; choices become texts."""
    if isinstance(value, dict):
        key = "" if key == "importance" else key  # its values are shares
        return {f"{k}{ATTACK}" if k in names else k: poisoned(v, names, key and k) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(one, names, key) for one in value]
    named = isinstance(value, str) and key not in KEYWORDS
    return f"{value}{ATTACK}" if named or (key in CHOICES and value is not None) else value


def poison(folder: Path) -> None:
    raw = json.loads((folder / "evaluation.json").read_text())
    space = (raw["tuning"] or {"space": {}})["space"]
    factors = [*raw["factors"], *raw["settings"], "lr", "schedule"]
    names = {*raw["techniques"], *raw["workloads"], *factors, *raw["provenance"]["versions"]}
    names |= {path for one in space.values() for path in one} | {*(raw["tuning"] or {"directions": {}})["directions"]}
    for path in folder.glob("*.json"):
        path.write_text(json.dumps(poisoned(json.loads(path.read_text()), names, path.name)))
    for path in folder.glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        texts = {"technique", "workload", "unit", "message", *raw["factors"], *CHOICES} & set(table)
        table = table.assign(**{name: table[name].where(table[name] == "", table[name] + ATTACK) for name in texts})
        table.rename(columns={name: f"{name}{ATTACK}" for name in names}).to_csv(path, index=False)


@pytest.mark.parametrize("markdown", HOSTILE)
def test_a_page_is_safe_whatever_its_markdown(tmp_path: Path, markdown: str) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "scores.png").write_bytes(b"PNG")
    source = html.page(f"a {markdown}\n\n- b\n", tmp_path)
    page = Page(source)
    assert not page.strangers
    assert f'content="{html.policy(page.nonce)}"' in source


@pytest.mark.parametrize(
    "options",
    [
        {"factors": {"activation": ["relu", "tanh"]}, "diverged": ("sgd", "wine", 1), "failed": ("adam", "digits")},
        {"workloads": ("digits",), "costs": {"sgd": 1e-3, "bgd": 1e-3, "adam": 2e-3}},
        {"workloads": ("digits",), "techniques": ("sgd",), "factor": None},
    ],
    ids=["factors", "costs", "described"],
)
@pytest.mark.slow
def test_every_field_of_a_folder(tmp_path: Path, make_folder: Make, options: dict[str, Any]) -> None:
    poison(make_folder(tmp_path, **options))
    check(read(tmp_path), tmp_path)


@pytest.mark.parametrize("studies", [1, 2])
@pytest.mark.slow
def test_every_field_of_a_search(tmp_path: Path, make_folder: Make, studies: int) -> None:
    made = make_folder(tmp_path, techniques=("sgd", "adam"), workloads=("digits", "wine"), seeds=4)
    poison(tune(made, studies=studies, front=True))
    check(read(tmp_path), tmp_path)


def table(path: Path, unit: str, states: tuple[str, str] = ("COMPLETE", "FAILED")) -> Path:
    columns = ["technique", "workload", "seed", "score", "<b>factor", "metric", "unit", "state", "message"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "cost_seconds"])
        for t, technique in enumerate((f"a{ATTACK}", f"b{ATTACK}", "=c")):
            for workload in (f"u{ATTACK}", f"v{ATTACK}"):
                for level, seed in ((level, seed) for level in (f"l{ATTACK}", "m") for seed in range(4)):
                    score = 0.5 + 0.1 * t + 0.01 * seed * (t + 1)
                    state = states[t == 1 and seed == 3]
                    row = [technique, workload, seed, score, level, f"m{ATTACK}", unit, state, f"why{ATTACK}", 1 + t]
                    writer.writerow(row)
    return path


@pytest.mark.slow
def test_every_field_of_a_table(tmp_path: Path) -> None:
    path = table(tmp_path / "long.csv", f"unit{ATTACK}")
    options = Options(
        f"a{ATTACK}".strip(), rope=0.01, pairing="seed", question=f"Which{ATTACK}?", command=f"python{ATTACK}"
    )
    check(Report(find(load_table(path, options))), tmp_path)
    wide = tmp_path / "wide.csv"
    with wide.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["data", f"a{ATTACK}", f"b{ATTACK}"])
        writer.writerows([f"d{place}{ATTACK}", 0.1 * place, 0.5] for place in range(6))
    options = Options(f"a{ATTACK}", metric=f"m{ATTACK}", score_unit=ATTACK, wide=True)
    check(Report(find(load_table(wide, options))), tmp_path)


@pytest.mark.slow
def test_no_table_of_a_report_holds_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    names = {"technique": ("=1+1", "+2-cmd", "@x", "-3"), "workload": ("-a", "@b"), "=level": ("=l", "-1")}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "seed", "score"])
        keys = list(product(*names.values(), range(3)))
        writer.writerows([*key, 0.1 * place % 1] for place, key in enumerate(keys))
    Report(find(load_table(path, Options("=1+1", pairing="seed")))).save(tmp_path / "out")
    for made in tmp_path.glob("out/*/*.csv"):
        with made.open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=+@]|-(?!\d|inf)", cell)], made
    written = read_table(tmp_path / "out" / "figures" / "scores.csv", ("name", "workload", "=level"), ())
    assert tuple(dict.fromkeys(written["name"])) == names["technique"]
    assert "`@x`" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    index = write_index(tmp_path).read_text(encoding="utf-8")
    assert "| `=1+1` | `+2-cmd`" in index


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_names_of_any_length_and_kind_can_be_drawn(tmp_path: Path) -> None:
    table(tmp_path / "t.csv", f"unit{ATTACK}")
    text = (tmp_path / "t.csv").read_text(encoding="utf-8").replace("bΩ", f"_{'b' * 300}Ω")
    (tmp_path / "t.csv").write_text(text.replace("uΩ", f"{'u' * 300}Ω"), encoding="utf-8")
    Report(find(load_table(tmp_path / "t.csv", Options(f"a{ATTACK}".strip(), rope=0.01, pairing="seed")))).save(
        tmp_path
    )
    assert not Page((tmp_path / "report.html").read_text(encoding="utf-8")).strangers
