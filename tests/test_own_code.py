"""Own code is a part of a trial's identity: its effect counts, not its layout."""

import importlib
import json
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_object

from conftest import Inline, compose_config, make_cell
from evalbench import own_code, tuning
from evalbench.config import Component
from evalbench.errors import ConfigError
from evalbench.evaluation.checks import changed_code
from evalbench.evaluation.plan import Plan
from evalbench.store import Store
from evalbench.trial import State, TrialResult
from test_config import OPTIONS

Files = Mapping[str, str]
Write = Callable[[Files], None]

OWN = '''"""A network."""
from torch import nn
import helper
from kit.parts import Base, width  # beside it

class Net(Base):
    """A network of mine."""
    def __init__(self, in_features, out_features):
        super().__init__()
        self.head = nn.Linear(in_features, out_features)

    def forward(self, inputs):
        from late import scale
        return scale(self.head(inputs))
'''
FILES = {
    "own.py": OWN,
    "helper.py": "import statistics\nimport deeper\n",
    "deeper.py": "FACTOR = 2.0\n",
    "late.py": "def scale(x):\n    return x\n",
    "kit/__init__.py": "",
    "kit/parts.py": "from torch import nn\nfrom . import sizes\nwidth = sizes.WIDTH\nclass Base(nn.Module): pass\n",
    "kit/sizes.py": "WIDTH = 8\n",
    "kit/other.py": "x = 1\n",
    "neighbour.py": "import own\n",
}
NET = {"_target_": "own.Net"}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write the user's modules and forget imported ones, as a new run of the command line does."""

    def forget() -> None:
        for name, module in list(sys.modules.items()):
            if str(tmp_path) in str(getattr(module, "__file__", None)):
                del sys.modules[name]

    def write(files: Files) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        forget()
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the time stamps of bytecode are too coarse
    yield write
    forget()


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("own.py", "# beside it", "# a remark", True),
        ("own.py", "import helper\n", "import helper\n\n\n", True),
        ("own.py", "nn.Linear(in_features, out_features)", "nn.Linear(\n in_features,\n (out_features),\n)", True),
        ("own.py", "A network of mine.", "Another description.", True),
        ("own.py", '"""A network."""', "", True),
        ("own.py", "scale(self.head(inputs))", "scale(self.head(0.0 * inputs))", False),
        ("own.py", "class Net(Base)", "class Net(nn.Module)", False),
        ("helper.py", "import deeper", "import deeper; y = 3", False),
        ("deeper.py", "2.0", "2", False),
        ("late.py", "return x", "return -x", False),
        ("kit/parts.py", "pass", "bias = None", False),
        ("kit/sizes.py", "8", "16", False),
        ("kit/__init__.py", "", "import torch", False),
        ("kit/other.py", "1", "2", True),
        ("neighbour.py", "import own", "import own, helper", True),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_the_effect_of_code_counts_in_every_imported_module(
    write: Write, file: str, old: str, new: str, same: bool
) -> None:
    write(FILES)
    before = own_code.behind(NET)
    write({file: FILES[file].replace(old, new, 1)})
    assert before["own.Net"].keys() == {"own", "helper", "deeper", "late", "kit", "kit.parts", "kit.sizes"}
    assert (own_code.behind(NET) == before) is same


@pytest.mark.parametrize(
    ("public", "settings"),
    [
        ("from hidden import Net", NET),
        ("import importlib\nglobals().update(vars(importlib.import_module('hid' 'den')))", NET),
        ("name = 'hidden'\nNet = vars(__import__(name))['Net']", NET),
        (
            "import sys, pathlib\nsys.path.append(str(pathlib.Path(__file__).parent / 'lib'))\nfrom inlib import Net",
            NET,
        ),
        ("import functools, hidden\nNet = functools.partial(hidden.Net)", NET),
        ("import hidden\nNet = hidden.Net.make", NET),
        ("import hidden\nNet = hidden.Net()", NET),
        ("from hidden import *", NET),
        ("", {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "hidden.Net", "width": 3}]}),
        ("", {"_target_": "torch.nn.Sequential", "block": {"_target_": "hydra.utils.get_class", "path": "hidden.Net"}}),
        ("", {"_target_": "hidden.function"}),
        ("", {"_target_": "hidden.Net.make"}),
        ("", {"_target_": "deep.er.Net"}),
    ],
)
def test_code_is_followed_to_its_definition(write: Write, public: str, settings: dict[str, Any]) -> None:
    hidden = "class Net:\n    @classmethod\n    def make(cls): return cls()\ndef function(): return 1\n"
    files = {"hidden.py": hidden, "lib/inlib.py": hidden, "deep/er.py": hidden}
    write({"own.py": public, **files})
    before = own_code.behind(settings)
    write({name: text.replace("return", "return 1 and") for name, text in files.items()})
    (changed,) = own_code.changes(before, own_code.behind(settings))
    assert changed.endswith(" changed")


@pytest.mark.parametrize("importing", ["import_module(f'plugins.{name}')", "import_module('plugins.' + name)"])
def test_a_computed_name_of_an_import_may_be_any_module_of_the_package(write: Write, importing: str) -> None:
    write({"own.py": f"from importlib import import_module\ndef make(name): return {importing}\n", "plugins/a.py": ""})
    settings = {"_target_": "own.make", "name": "a"}
    before = own_code.behind(settings)
    write({"plugins/a.py": "x = 1"})
    assert own_code.behind(settings) != before


def test_a_module_that_is_compiled_is_known_by_its_bytes(write: Write) -> None:
    fast = f"fast{EXTENSION_SUFFIXES[0]}"
    write({"own.py": "def make():\n    import fast\n", fast: "\0one"})
    before = own_code.behind({"_target_": "own.make"})
    write({fast: "\0two"})
    assert own_code.behind({"_target_": "own.make"}) != before


@pytest.mark.slow
def test_an_installed_package_is_known_by_its_version(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    own_code._distributions.cache_clear()
    direct = "site-packages/made-1.dist-info/direct_url.json"

    def installed(version: str, text: str = "def make(): pass") -> dict[str, dict[str, str]]:
        about = "site-packages/made-1.dist-info"
        write(
            {
                "own.py": "import made\n",
                "byhand/own.py": "",
                "site-packages/made/__init__.py": text,
                f"{about}/METADATA": f"Metadata-Version: 2.1\nName: made\nVersion: {version}\n",
                f"{about}/RECORD": f"made/__init__.py,sha256={len(text)},1\n{about}/RECORD,,\n",
            }
        )
        own_code._version.cache_clear()
        return own_code.behind({"_target_": "made.make", "path": "own.x"})

    first = installed("1.0")
    assert first["made.make"] == {"made": "1.0"}
    assert first["own.x"]["made"] == "1.0"
    assert installed("1.0", "def make(): return 1") == first  # edits of installed packages are not detected
    assert installed("1.1")["made.make"] == {"made": "1.1"}
    write({direct: "{}"})  # installed from a folder or a repository, whose version may stay the same
    assert installed("1.0") != installed("1.0", "def make(): return 1")


def test_code_that_cannot_be_read_is_refused_in_one_line(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, about in (("typed_in", {}), ("piped_in", {"__file__": "<stdin>"})):  # as in a notebook
        module = types.ModuleType(name)
        exec("class Net: pass", vars(module))
        vars(module).update(about)
        monkeypatch.setitem(sys.modules, name, module)
    write({"own.py": "import typed_in\nclass Net(typed_in.Net): pass", "broken.py": "1 / 0", "empty.py": ""})
    for target, reason in (
        ("typed_in.Net", "typed_in must have source code"),
        ("piped_in.Net", "piped_in must have source code"),
        ("own.Net", "typed_in must have source code"),
        ("broken.Net", "ZeroDivisionError"),
        ("nowhere.Net", "No module named 'nowhere'"),
        ("empty.Net", "no attribute 'Net'"),
    ):
        with pytest.raises(ConfigError, match=rf"^model._target_ must be code .* not '{target}': .*{reason}"):
            Component("model", target, {}).code()


def test_a_name_leads_to_the_object_that_hydra_finds(write: Write) -> None:
    """The attribute `pkg.Net` is a class, although there is a module of that name; modules are imported if needed."""
    write(
        {"pkg/__init__.py": "from .Net import Net", "pkg/Net.py": "class Net: pass", "pkg/late.py": "class Other: pass"}
    )
    for name in ("pkg.Net", "pkg.late.Other", "pkg.late", "torch.optim.SGD"):
        assert own_code.locate(name) is get_object(name)
    assert isinstance(Component("model", "pkg.Net", {}).locate(), type)
    assert "pkg.Net" in Component("model", "pkg.Net", {}).code()["pkg.Net"]


def test_a_module_that_is_imported_again_is_read_again(write: Write, tmp_path: Path) -> None:
    write({"own.py": "def make(): return 1"})
    before = own_code.behind({"_target_": "own.make"})
    (tmp_path / "own.py").write_text("def make(): return 22")
    assert own_code.behind({"_target_": "own.make"}) == before  # the code that this process runs
    importlib.reload(sys.modules["own"])
    assert own_code.behind({"_target_": "own.make"}) != before


# ── in a trial's identity ─────────────────────────────────────────────────────────────────────────────────────────────

SMALL = ("dataset=iris", "num_seeds=2", "model._target_=own.Net", "~model.depth", "~model.width")


NEEDED = {
    "own": ["loss._target_=torch.nn.CrossEntropyLoss"],
    "command": ["model.command=[echo]"],
    "estimator": ["model._target_=sklearn.tree.DecisionTreeClassifier"],
    "lightning": ["model._target_=pytorch_lightning.demos.boring_classes.BoringModel"],
}
"""What options ask for that are of no use alone."""
ABSENT = ("timm", "torchvision", "pretrained", "own_pretrained")
"""Options of other libraries, whose versions are part of the identity."""
OF_PARTS = [
    file
    for file in OPTIONS
    if file.parent.name in ("activation", "loss", "model", "optimizer", "schedule") and file.stem not in ABSENT
]


@pytest.mark.parametrize("file", OF_PARTS, ids=lambda file: f"{file.parent.name}={file.stem}")
@pytest.mark.slow
def test_shipped_options_have_no_own_code_in_their_identity(file: Path) -> None:
    assert compose_config(f"{file.parent.name}={file.stem}", *NEEDED.get(file.stem, [])).code == {}


MINE = """
import torch
from optuna.samplers import RandomSampler as Sampler
from evalbench.workloads.bundled import load

class Adam(torch.optim.Adam): pass
class Act(torch.nn.ReLU): pass
class Step(torch.optim.lr_scheduler.StepLR): pass
"""


def test_every_component_that_changes_a_result_counts_and_a_loader_does_not(write: Write) -> None:
    write({**FILES, "mine.py": MINE})
    optimizers = ("optimizer=muon", "optimizer.others._target_=mine.Adam")
    schedule = ("schedule=step", "schedule._target_=mine.Step")
    cell = make_cell(*SMALL, "activation._target_=mine.Act", *optimizers, *schedule, "dataset._target_=mine.load")
    assert cell.settings["code"].keys() == {"own.Net", "mine.Act", "mine.Adam", "mine.Step"}


@pytest.mark.slow
def test_a_study_counts_the_code_of_its_sampler_and_of_its_choices(write: Write) -> None:
    def studies() -> list[str]:
        choices = "++search.space.activation._target_={choices: [torch.nn.ReLU, mine.Act]}"
        cells = [
            make_cell(*SMALL, "+search=random", more) for more in (choices, "search.sampler._target_=mine.Sampler")
        ]
        return [study.id for cell in (*cells, make_cell(*SMALL, "+search=random")) for study in tuning.studies(cell)]

    write({**FILES, "mine.py": MINE})
    before = studies()
    write({"mine.py": MINE + "class Other: pass"})
    assert [old == new for old, new in zip(before, studies(), strict=True)] == [False, False, True]
    write({"own.py": OWN.replace("scale(self", "abs(self")})
    assert studies()[2] != before[2]


def test_results_of_changed_code_are_reported_and_not_used(write: Write, workspace: Path) -> None:
    write(FILES)
    store = Store("sqlite:///store.sqlite")
    plan = Plan.of([compose_config(*SMALL)])
    assert changed_code(plan, store) == {}
    (cell,) = plan.cells
    store.record([(spec, TrialResult(State.COMPLETE)) for spec in cell.specs.values()], {})
    assert changed_code(Plan.of([compose_config(*SMALL, "num_seeds=3")]), store) == {}
    write({"late.py": "def scale(x):\n    return 2 * x\n"})
    plan = Plan.of([compose_config(*SMALL)])
    assert plan.untrained(store) == [0]
    assert changed_code(plan, store) == {"code of own.Net changed": 2}
    assert own_code.changes(None, cell.code) == ["code of own.Net was not recorded"]


@pytest.mark.slow
def test_edited_code_trains_anew_and_is_reported(write: Write, inline: Inline, workspace: Path) -> None:
    loader = "from dataclasses import replace\nfrom evalbench.workloads.bundled import load as bundled\n"
    loader += "def load(name): return replace(bundled(name), held_out=range(0, 150, 5))\n"
    write({**FILES, "given.py": loader})
    run = (
        *SMALL,
        "dataset._target_=given.load",
        "budget.epochs=1",
        "tracker=none",
        "cost.rounds=0",
        "evaluation.name=x",
    )

    def results() -> str:
        return (workspace / "reports/x/results.csv").read_text()

    assert "train anew" not in inline(*run)
    before = results()
    write({"own.py": OWN.replace("# beside it", "")})
    assert "train anew" not in inline(*run)
    write({"late.py": "def scale(x):\n    return 0 * x\n"})
    assert "code of own.Net changed: 2 trials train anew" in inline(*run)
    assert results() != before
    about = json.loads((workspace / "reports/x/evaluation.json").read_text())
    assert about["provenance"]["code"] == {"own.Net": own_code.behind(NET)["own.Net"]}
    assert about["workloads"]["iris"]["fixed_test_rows"] == 30
