"""The radar: which verdicts are about one technique, what moved, what contradicts what, and pages that are safe."""

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evalbench.comparison import compare
from evalbench.names import one_line
from evalbench.radar import build
from evalbench.radar.__main__ import main
from evalbench.radar.files import build_your_own_radar
from evalbench.radar.history import BANDS, TechnologyRadar, radar_of
from evalbench.radar.layout import TOP, Box, layout_of, names_beside
from evalbench.radar.reading import read_folders
from evalbench.record.summary import FILE, write_summary
from evalbench.report.render.units import end_text
from evalbench.report.summary import bare, lone
from evalbench.statistics.verdicts import Recommendation
from test_names import HOSTILE

RECOMMENDED = {"SUPERIOR": "ADOPT", "BETTER": "TRIAL", "MIXED": "ASSESS", "WORSE": "HOLD", "INFERIOR": "HOLD"}
UNIT = {"name": "accuracy points", "short": "points", "better": "higher", "ratio": False, "decimals": 2, "largest": 100}


def verdict(name: str, quality: str, settings_hash: str | None = "1", **more: Any) -> dict[str, Any]:
    recommendation = Recommendation(RECOMMENDED.get(quality, "INSUFFICIENT EVIDENCE"))
    effect = {"mean": 1.0, "low": 0.5, "high": 1.5, "confidence": 0.95, "freedom": 9}
    one = lone(name, recommendation, quality.lower()) | {"quality": quality, "effect": effect, "rank": 1}
    return (
        one | {"settings_hash": settings_hash, "tuned": False, "cost_class": "CHEAPER", "next": "Next: use it."} | more
    )


def evaluation(
    reports: Path, name: str, date: str | None, *verdicts: dict[str, Any],
    factor: str = "optimizer", baseline: str = "sgd", data: dict[str, str | None] | None = None, **more: Any,
) -> Path:  # fmt: skip
    folder = reports / name
    folder.mkdir(parents=True)
    workloads = [
        {
            "name": w,
            "metric": "accuracy",
            "direction": "maximize",
            "fingerprint": p,
            "generated": False,
            "counted": True,
        }
        for w, p in (data or {"digits": "d", "wine": "w"}).items()
    ]
    content = bare("verdicts", name, "Which one?") | {
        "date": None if date is None else f"{date}T12:00:00+00:00",
        "factor": factor,
        "baseline": baseline,
        "unit": UNIT,
        "rope": {"width": 1, "declared": True},
        "answer": [f"use `{verdicts[0]['name']}`" if verdicts else "nothing"],
        "scope": {"rows": "new rows", "words": "new rows of these data sets", "workloads": workloads},
        "techniques": [lone(baseline, None, "baseline", is_baseline=True), *verdicts],
    }
    write_summary(folder, content | more)
    (folder / "report.html").write_text("page")
    return folder


def radar(reports: Path, since: str | None = None) -> TechnologyRadar:
    return radar_of(read_folders(reports), since)


def statuses(made: TechnologyRadar) -> dict[str, str]:
    return {one.label: one.status for one in made.techniques}


def test_the_last_verdict_decides_and_moves_are_counted(tmp_path: Path) -> None:
    evaluation(
        tmp_path, "a", "2026-01-01", verdict("adam", "WORSE"), verdict("lion", "BETTER"), verdict("muon", "MIXED")
    )
    evaluation(tmp_path, "z", "2026-02-01", verdict("adam", "BETTER"), verdict("muon", "MIXED"))
    evaluation(tmp_path, "b", "2026-03-01", verdict("lion", "INCONCLUSIVE"), verdict("sophia", "SUPERIOR"))
    made = radar(tmp_path)
    assert {one.label: str(one.now.recommendation) for one in made.blips} == {
        "adam": "TRIAL",
        "muon": "ASSESS",
        "sophia": "ADOPT",
    }
    assert [one.label for one in made.open] == ["lion"]
    assert statuses(made) == {"adam": "no change", "lion": "moved out", "muon": "no change", "sophia": "new"}
    since = {"adam": "moved in", "lion": "moved out", "muon": "no change", "sophia": "new"}
    assert statuses(radar(tmp_path, "2026-01-02")) == since
    assert set(statuses(radar(tmp_path, "2026-01-01")).values()) == {"new"}
    assert [one.label for one in radar(tmp_path, "2026-03-02").moves] == []


def test_evaluations_without_a_date_are_older_than_all_others(tmp_path: Path) -> None:
    evaluation(tmp_path, "later", None, verdict("adam", "WORSE"))
    evaluation(tmp_path, "dated", "2020-01-01", verdict("adam", "BETTER"))
    (adam,) = radar(tmp_path).techniques
    assert [one.evaluation.date for one in adam.history] == ["", "2020-01-01"]


def test_one_name_is_not_one_technique(tmp_path: Path) -> None:
    evaluation(tmp_path, "a", "2026-01-01", verdict("adam", "BETTER", "1", settings={"lr": 0.1, "wd": 0}))
    evaluation(tmp_path, "b", "2026-01-02", verdict("adam", "WORSE", "2", settings={"lr": 0.2, "wd": 0}))
    evaluation(tmp_path, "c", "2026-01-03", verdict("adam", "WORSE", "1", settings={"lr": 0.1, "wd": 0}, tuned=True))
    evaluation(tmp_path, "d", "2026-01-04", verdict("adam", "WORSE", None))
    evaluation(tmp_path, "e", "2026-01-05", verdict("adam", "WORSE"), factor="teacher")
    assert sorted(one.label for one in radar(tmp_path).techniques) == [
        "adam",
        "adam (lr=0.1, not tuned)",
        "adam (lr=0.2, not tuned)",
        "adam (not tuned, settings not known)",
        "adam (tuned)",
    ]
    assert not any(one.contradictions for one in radar(tmp_path).techniques)


@pytest.mark.parametrize(
    ("older", "newer", "more", "data_sets"),
    [
        ("BETTER", "WORSE", {}, ("digits", "wine")),
        ("INFERIOR", "SUPERIOR", {}, ("digits", "wine")),
        ("BETTER", "SUPERIOR", {}, ()),
        ("BETTER", "INCONCLUSIVE", {}, ()),
        ("EQUIVALENT", "WORSE", {}, ()),
        ("BETTER", "WORSE", {"baseline": "lion"}, ()),
        ("BETTER", "WORSE", {"data": {"iris": "i"}}, ()),
        ("BETTER", "WORSE", {"data": {"iris": "i", "wine": "w"}}, ("wine",)),
        ("BETTER", "WORSE", {"data": {"digits": "other"}}, ()),
        ("BETTER", "WORSE", {"data": {"digits": None}}, ("digits",)),
    ],
)
def test_opposite_qualities_on_a_shared_scope_contradict(
    tmp_path: Path, older: str, newer: str, more: dict[str, Any], data_sets: tuple[str, ...]
) -> None:
    evaluation(tmp_path, "a", "2026-01-01", verdict("adam", older))
    evaluation(tmp_path, "b", "2026-02-01", verdict("adam", newer), **more)
    (adam,) = radar(tmp_path).techniques
    contradictions = [(c.older.evaluation.name, c.newer.evaluation.name, c.data_sets) for c in adam.contradictions]
    assert contradictions == ([("a", "b", data_sets)] if data_sets else [])


def test_data_sets_that_are_named_contradict_each_other(tmp_path: Path) -> None:
    evaluation(tmp_path, "a", "2026-01-01", verdict("adam", "BETTER", better_on=["wine"]))
    conditions = {"budget": {"epochs": 9}}
    both: dict[str, Any] = {"better_on": ["digits"], "worse_on": ["wine"]}
    evaluation(tmp_path, "b", "2026-02-01", verdict("adam", "MIXED", **both), conditions=conditions)
    (contradiction,) = radar(tmp_path).techniques[0].contradictions
    assert contradiction.data_sets == ("wine",)
    assert contradiction.differing == ("budget",)


@given(st.lists(st.lists(st.integers(0, 20), min_size=4, max_size=4), min_size=1, max_size=9))
@settings(max_examples=15, deadline=None)
@example([[0, 0, 0, 200]])
@example([[50, 50, 50, 50]])
@example([[1, 0, 0, 0]] * 30)
def test_blips_lie_in_their_segment_and_on_no_other(counts: list[list[int]]) -> None:
    layout = layout_of(counts)
    edges = [0.0, *layout.bands]
    spots = []
    for (start, end), row, numbers in zip(layout.sectors, layout.spots, counts, strict=True):
        assert [len(segment) for segment in row] == numbers
        for inner, outer, segment in zip(edges, edges[1:], row, strict=False):
            for spot in segment:
                distance = math.hypot(spot.x, spot.y)
                angle = TOP + (math.atan2(spot.y, spot.x) - TOP) % (2 * math.pi)
                assert inner + layout.blip <= distance <= outer - layout.blip or inner == 0
                assert start <= angle <= end
                spots.append(spot)
    closest = min((math.hypot(a.x - b.x, a.y - b.y) for a, b in combinations(spots, 2)), default=math.inf)
    assert closest >= 2 * layout.blip


@pytest.mark.parametrize("counts", [[[1, 1, 1, 1]], [[0, 1, 0, 0], [0, 1, 1, 0]], [[0, 0, 12, 0]], [[2, 2, 2, 1]]])
def test_names_lie_on_nothing_else(counts: list[list[int]]) -> None:
    layout = layout_of(counts)
    spots = [spot for sector in layout.spots for band in sector for spot in band]
    widths = [60.0 + 15 * index for index in range(len(spots))]
    middles = names_beside(layout, widths, 20.0)
    names = [Box(middle, width, 20.0) for middle, width in zip(middles, widths, strict=True) if middle]
    assert len(names) >= len(spots) / 2
    assert not any(a.meets(b) for a, b in combinations(names, 2))
    for box in names:
        own, *others = sorted(box.distance(spot) for spot in spots)
        assert own >= layout.blip
        assert all(other > own for other in others)
        assert box.reach <= layout.radius


def test_an_interval_keeps_its_side_of_zero(tmp_path: Path) -> None:
    effect = {"mean": 2.23, "low": 0.002142, "high": 4.455, "confidence": 0.98, "freedom": 13}
    evaluation(tmp_path, "a", None, verdict("cf", "BETTER", effect=effect))
    (technique,) = radar(tmp_path).techniques
    assert technique.now.interval == "[+0.002, +4.46] at 98 %"
    assert end_text(-0.5, 0) == "−0.5"


def test_searched_settings_have_no_value(tmp_path: Path) -> None:
    space: dict[str, Any] = {"bgd": {"optimizer.lr": {}, "optimizer.betas.0": {}, "model.width": {}}}
    known = {"lr": 0.1, "betas": [0.9], "batch_size": "full"}
    tuned = verdict("bgd", "BETTER", settings=known, tuned=True)
    evaluation(tmp_path, "a", "2026-01-01", tuned, conditions={"tuning": {"space": space}})
    build(tmp_path)
    page = (tmp_path / "radar.html").read_text(encoding="utf-8")
    assert "lr, betas.0, model.width</code>: tuned on each data set" in page
    assert "lr=" not in page
    assert "batch_size=" in page


@pytest.mark.parametrize(
    ("more", "changed", "conditions"),
    [
        ({}, {"tuned": True, "settings_hash": "2"}, ("tuned",)),
        ({}, {"settings_hash": "2"}, ("other settings",)),
        ({"baseline": "lion"}, {}, ("against lion",)),
        ({"data": {"iris": "i"}}, {}, ("other data sets",)),
        ({}, {}, None),
    ],
)
def test_another_recommendation_stands_beside(
    tmp_path: Path, more: dict[str, Any], changed: dict[str, Any], conditions: tuple[str, ...] | None
) -> None:
    evaluation(tmp_path, "a", "2026-01-01", verdict("adam", "WORSE") | changed, **more)
    evaluation(tmp_path, "b", "2026-02-01", verdict("adam", "BETTER"))
    (adam,) = (one for one in radar(tmp_path).techniques if one.now.evaluation.name == "b")
    assert [other.conditions for other in adam.elsewhere] == ([conditions] if conditions else [])
    build(tmp_path)
    shown = "≠ <span" in (tmp_path / "radar.html").read_text(encoding="utf-8")
    assert shown is (conditions is not None)


def test_without_dates_no_evaluation_is_the_last(tmp_path: Path) -> None:
    evaluation(tmp_path, "a", None, verdict("adam", "WORSE"))
    evaluation(tmp_path, "b", None, verdict("adam", "BETTER"))
    assert radar(tmp_path).since == "by b, the last by the name of its folder: no evaluation has a date"
    evaluation(tmp_path, "c", "2026-02-01", verdict("lion", "BETTER"))
    assert radar(tmp_path).since == "by the last evaluation, c (2026-02-01)"
    build(tmp_path)
    page = (tmp_path / "radar.html").read_text(encoding="utf-8")
    assert "Evaluations without a date (2) count as older than all others" in page
    assert "none of its evaluations has a date, so the last by the name of its folder decides" in page


@pytest.mark.parametrize("factors", [1, 2, 4, 6])
def test_the_tool_of_thoughtworks_gets_four_quadrants(tmp_path: Path, factors: int) -> None:
    for number in range(factors):
        verdicts = [verdict(f"t{index}", "BETTER") for index in range(number + 1)]
        evaluation(tmp_path, f"e{number}", "2026-01-01", *verdicts, verdict("=x", "WORSE"), factor=f"f{number}")
    build(tmp_path)
    table = pd.read_csv(tmp_path / "build-your-own-radar.csv")
    assert list(table) == ["name", "ring", "quadrant", "isNew", "description"]
    assert table["quadrant"].nunique() == 4
    assert set(table["ring"]) <= {band.title() for band in BANDS}
    assert table["ring"].drop_duplicates().to_list() == ["Trial", "Hold"]  # the tool draws them in this order
    assert set(table["isNew"]) <= {True, False}
    assert (table["name"] == "'=x").sum() == min(factors, 4 if factors <= 4 else 3)
    assert len(build_your_own_radar(radar(tmp_path))) == len(radar(tmp_path).blips) + max(0, 4 - factors)


def test_everything_is_written_from_all_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = tmp_path / "reports", tmp_path / "their folder"
    evaluation(ours, "mine", "2026-01-01", verdict("adam", "BETTER"))
    evaluation(theirs, "yours #1", "2026-02-01", verdict("adam", "WORSE"))
    copy = evaluation(theirs, "copy", None)
    (copy / FILE).write_bytes((ours / "mine" / FILE).read_bytes())
    (theirs / "old").mkdir()
    (theirs / "old" / "evaluation.json").write_text("{}")
    (theirs / "broken").mkdir()
    (theirs / "broken" / FILE).write_text('{"version": 7}')
    assert main([str(ours), "--from", str(theirs)]) == 0
    said = capsys.readouterr()
    assert f"left out: {theirs / 'old'}: it has no summary.json" in said.err
    assert f"left out: {theirs / 'broken'}: version must be 1, not 7" in said.err
    assert f"left out: {theirs / 'copy'}: a copy of mine" in said.err
    content = json.loads((ours / "radar.json").read_text(encoding="utf-8"))
    assert [one["report"] for one in content["evaluations"]] == [
        "mine/report.html",
        "../their%20folder/yours%20%231/report.html",
    ]
    (adam,) = content["techniques"]
    assert (adam["status"], adam["before"], len(adam["history"])) == ("moved out", "TRIAL", 2)
    assert adam["contradictions"] == [{"older": 0, "newer": 1, "data_sets": ["digits", "wine"], "differing": []}]
    table = pd.read_csv(ours / "radar.csv", keep_default_na=False)
    assert table["contradicted_by"].to_list() == [f"yours #1 ({theirs})", ""]
    page = (ours / "index.html").read_text(encoding="utf-8")
    assert 'href="../their%20folder/yours%20%231/report.html"' in page
    first = {path.name: path.read_bytes() for path in ours.iterdir() if path.is_file()}
    assert set(first) == {"index.html", "radar.html", "radar.json", "radar.csv", "build-your-own-radar.csv"}
    build(ours, [theirs])
    assert first == {path.name: path.read_bytes() for path in ours.iterdir() if path.is_file()}


def test_what_cannot_be_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert main([str(tmp_path), "--since", "spring"]) == 2
    assert main([str(tmp_path), "--from", str(tmp_path / "none")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error"] * 3
    assert "--since must be a day such as 2026-11-26, not 'spring'" in lines[1]
    assert main([str(tmp_path)]) == 0  # an empty folder has an empty radar
    assert "No technique has a recommendation yet" in (tmp_path / "radar.html").read_text(encoding="utf-8")


class Browser(HTMLParser):
    """A page as a browser reads it: tags, attributes, text, scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.codes: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.codes.append(data)
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


TAGS = "html head meta title style body header h1 h2 h3 h4 nav a p ul ol li dl dt dd strong em small code span br div"
TAGS += " section figure output label input details summary table thead tbody tr th td script"
SHAPES = "svg circle line path text textpath polygon"
NAMES = {
    "lang", "charset", "http-equiv", "content", "name", "href", "class", "id", "data-id", "data-words", "data-label",
    "data-filter", "type", "for", "placeholder", "scope", "value", "viewbox", "role", "r", "x", "y", "x2", "y2", "cx",
    "cy", "d", "font-size", "text-anchor", "startoffset", "points", "title",
}  # fmt: skip
MARK = "Ω"
ATTACK = MARK + " ".join(HOSTILE)


def poisoned(value: Any, key: str = "") -> Any:
    """Every text of a summary with the attack behind it, but for words that the schema fixes."""
    fixed = {"kind", "direction", "better", "recommendation", "quality", "cost_class", "rows", "generality"}
    if isinstance(value, dict):
        return {k: poisoned(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(one, key) for one in value]
    return f"{value}{ATTACK}" if isinstance(value, str) and key not in fixed else value


def test_what_others_wrote_is_shown_and_runs_nothing(tmp_path: Path) -> None:
    theirs = tmp_path / "<b>&\"'"
    more: dict[str, Any] = {"settings": {"lr": "x"}, "generality": "not shown", "caps": ["few"]}
    for name, date, quality in (("a", "2026-01-01", "BETTER"), ("b", "2026-02-01", "WORSE"), ("c", "2026-03-01", "?")):
        one = verdict("adam", quality, **more) | {"quality": None if quality == "?" else quality}
        folder = evaluation(theirs, name, date, one, conditions={"budget": {"epochs": len(name)}})
        content = poisoned(json.loads((folder / FILE).read_text(encoding="utf-8")))
        content["techniques"][1]["name"] += quality[0] if quality == "?" else ""
        write_summary(folder, content)
    assert not build(tmp_path, [theirs]).left_out
    for name in ("radar.html", "index.html"):
        source = (tmp_path / name).read_text(encoding="utf-8")
        page = Browser(source)
        assert page.tags <= set(f"{TAGS} {SHAPES}".split())
        assert {attribute for _, attribute, _ in page.attributes} <= NAMES
        links = [value for tag, attribute, value in page.attributes if (tag, attribute) == ("a", "href")]
        own = r"#t-[0-9a-f]{12}|(?:index|radar)\.(?:html|json|csv)|[\w%./-]+/report\.html"
        assert all(re.fullmatch(own, link) for link in links), links
        (policy,) = (
            value for _, attribute, value in page.attributes if attribute == "content" and "script-src" in value
        )
        hashes = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in page.codes]
        assert len(hashes) == 2
        assert all(f"'sha256-{digest}'" in policy for digest in hashes)
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        shown = " ".join(page.text.split())
        assert shown.count(one_line(ATTACK)) > 10  # whole, as text


def test_half_of_a_character_and_the_largest_numbers_are_shown(tmp_path: Path) -> None:
    effect = {"mean": 1.0, "low": -1e308, "high": 1e308, "confidence": 1e-12, "freedom": 1e-300}
    for name, date in (("a", "2026-01-01"), ("b", "2026-02-01")):
        folder = evaluation(tmp_path, name, date, verdict("adam", "BETTER", effect=effect))
        text = (folder / FILE).read_text(encoding="utf-8")
        (folder / FILE).write_text(text.replace("adam", f"{name}dam\\ud800"), encoding="utf-8")
    assert [one.label for one in build(tmp_path).techniques] == ["adam\\ud800", "bdam\\ud800"]
    (folder / FILE).write_text(text.replace("1e-12", "0.9"), encoding="utf-8")
    (change,) = compare(tmp_path / "b", evaluation(tmp_path, "c", None, verdict("adam", "BETTER"))).changes
    assert change.words == "within noise"


def test_a_long_list_of_moves_folds(tmp_path: Path) -> None:
    evaluation(tmp_path, "a", "2026-01-01", *(verdict(f"t{index}", "BETTER") for index in range(30)))
    build(tmp_path)
    assert "<summary>25 more</summary>" in (tmp_path / "radar.html").read_text(encoding="utf-8")


def test_the_examples_have_the_radar_of_their_summaries(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "reports" / "examples"
    for report in examples.iterdir():
        if report.is_dir():
            (tmp_path / report.name).mkdir()
            for name in (FILE, "report.html"):
                (tmp_path / report.name / name).write_bytes((report / name).read_bytes())
    build(tmp_path)
    for name in ("index.html", "radar.html", "radar.json", "radar.csv", "build-your-own-radar.csv"):
        assert (examples / name).read_bytes() == (tmp_path / name).read_bytes(), "run: evalbench radar reports/examples"
