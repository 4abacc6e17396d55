"""Bad inputs at every door: each ends in one line and exit code 2 before anything trains, or with failed cells in 1.

Run this file with `-s` to see how many there are, and what is said about each.
"""

import io
import json
import shlex
import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hydra._internal.hydra import Hydra
from safetensors.numpy import save_file

from evalbench import __main__, sync, weights
from evalbench.comparison import __main__ as compare
from evalbench.dashboard import __main__ as dashboard
from evalbench.errors import InputError
from evalbench.report import __main__ as report
from evalbench.store import Store

Program = Callable[[list[str]], int]

OVERRIDES = """
num_seed=5
num_seeds=0
num_seeds=-1
num_seeds=1.5
num_seeds=ten
num_seeds=true
num_seeds=[1]
num_seeds={a:1}
num_seeds=1e25
evaluation.variance=2
evaluation.variance=yes_please
evaluation.variance=1.5
evaluation.variance=[6]
evaluation.variance={splits:6}
evaluation.variance={split:2}
evaluation.variance=true +search=tpe
evaluation.looks=5
evaluation.looks=[]
evaluation.looks=[5,5]
evaluation.looks=[10,5]
evaluation.looks=[1,5]
evaluation.looks=[5,true]
evaluation.looks=[5,10.0]
evaluation.looks=[5,ten]
evaluation.looks=[5,10] num_seeds=10
evaluation.looks=[5,10] +search=tpe search.num_studies=2
seed=-1
seed=1e25
seed=10000000000000000000000000
seed=abc
seed=nan
seed=null
split.validation=0
split.validation=1
split.test=-0.1
split.test=inf
split.test=nan
split=null
split=0.5
split.other=1
split=sometimes
split=group
split=time
split=predefined
split=kfold split.test=0.3
split=kfold num_seeds=6
split=kfold +search=random
split=fixed evaluation.variance=3
loss.label_smoothing=1
loss.label_smoothing=-1
loss=null
loss=mse
loss=own
loss.class_weights=1
task.metric=nothing
task.monitor=r2
task._target_=nothing.Task
task._target_=math.sqrt
task._target_=3
task=null
evaluation.name=a/b
evaluation.name=..
evaluation.name=
evaluation.name=null
evaluation=null
evaluation.factor=nothing
evaluation.rope.accuracy=0
evaluation.rope.accuracy=-1
evaluation.rope=5
evaluation.rope.accuracy=0.5
evaluation.confirm_rope=perhaps
cost.rounds=-1
cost.rounds=half
cost=null
store.url=
store.url=nonsense
store.url=nosuchdb://x/y
store.url=sqlite:////proc/none/store.sqlite
store.url=sqlite:///empty.csv/store.sqlite
store.url=sqlite:///iris.csv
store.url=null
store=null
save=some
save=null
save=all weights=/proc/none
weights=null
reports=null
reports=/proc/none
reports=iris.csv
tracker.live=perhaps
tracker.patience_seconds=0
tracker.wandb=null
tracker.wandb.mode=7
tracker.wandb.other=7
tracker=nothing
tracker=7
optimizer=adan
optimizer=null
optimizer=[sgd,adam]
optimizer=7
optimizer=
optimizer=/etc/passwd
optimizer.lr=-1
optimizer.lr=nan
optimizer.lr=null
optimizer.lr=[0.1]
optimizer.lr=1e400
optimizer.lr=${nothing}
optimizer.lr=${oc.env:NOTHING_OF_THAT_NAME}
optimizer.lr=${optimizer.lr}
optimizer.lr=${oops
optimizer.lr=${no.resolver:1}
optimizer.batch_size=0
optimizer.batch_size=half
optimizer.betas=[0.9]
optimizer.betas=0.9
optimizer.betas=[a,b]
optimizer._target_=
optimizer._target_=null
optimizer._target_=7
optimizer._target_=os.getcwd
optimizer._target_=torch.optim
optimizer._target_=torch.optim.Nothing
optimizer._target_=nothing.at.all
optimizer._target_=..
optimizer._target_=builtins.print
+optimizer.clip_norm=0
+optimizer.clip_norm=tight
+optimizer.others=7
~optimizer
~nothing
~evaluation
schedule=step schedule.step_size=0
schedule=cosine +schedule.other=1
schedule=nothing
schedule=7
budget.epochs=0
budget.epochs=1.5
budget.epochs=-3
budget=steps budget.steps=0
budget=steps budget.validations=0
budget=hours
budget=null
+budget.patience=0
+budget.steps=3
model.depth=0
model.depth=-1
model.depth=two
model.width=0
model.width=null
model.width=1e12
model.nothing=1
model=cnn dataset=iris
model=transformer
model._target_=evalbench.models.mlp
model._target_=torch.nn.Linear
activation.gain=0
activation.gain=nan
activation._target_=torch.nn.Linear
activation._target_=torch.nn.Nothing
activation=null
trainer.precision=16
trainer.precision=null
trainer.matmul_precision=tf32
trainer.profile=perhaps
trainer.devices=0
trainer.devices=two
trainer.devices=2
trainer.split=rows
trainer.strategy=fsdp
trainer.accelerator=abacus
trainer.accelerator=tpu
trainer.microbatch_size=0
trainer.checkpoint_minutes=0
trainer.checkpoint_minutes=never
trainer.checkpoint_folder=/proc/none
trainer.checkpoint_folder=null
trainer.verify=perhaps
+trainer.max_epochs=3
+trainer.nothing=3
+trainer.plugins=[]
+trainer.num_nodes=2
trainer=null
dataset=nothing
dataset=null
dataset=7
dataset=[iris,wine]
dataset=moons dataset.rows=0
dataset=moons +dataset.nothing=0
dataset._target_=builtins.print
dataset._target_=builtins.dict
dataset=csv
dataset=text dataset.path=none.txt
dataset=csv dataset.path=none.csv
dataset=csv dataset.path=.
dataset=csv dataset.path=iris.csv dataset.target=none
dataset=csv dataset.path=iris.csv dataset.kind=ranking
dataset=csv dataset.path=iris.csv dataset.target=[x,y]
dataset=csv dataset.path=iris.csv dataset.target=[x,label] dataset.kind=multilabel
dataset=csv dataset.path=iris.csv dataset.kind=multilabel
dataset=csv dataset.path=iris.csv dataset.kind=ordinal
dataset=csv dataset.path=iris.csv dataset.kind=ordinal dataset.order=[b,c]
dataset=csv dataset.path=iris.csv dataset.kind=count
dataset=csv dataset.path=iris.csv dataset.target=[x,y] dataset.kind=count
dataset=csv dataset.path=iris.csv dataset.drop=[none]
dataset=csv dataset.path=iris.csv dataset.drop={other:[x]}
dataset=csv dataset.path=iris.csv dataset.drop=7
dataset=csv dataset.path=iris.csv dataset.drop=[x,y]
dataset=csv dataset.path=iris.csv dataset.delimiter=;;
dataset=csv dataset.path=iris.csv dataset.decimal=colon
dataset=csv dataset.path=iris.csv dataset.target_score=high
dataset=csv dataset.path=iris.csv dataset.name={a:1}
dataset=csv dataset.path=7
dataset=csv dataset.path=empty.csv
dataset=csv dataset.path=header.csv
dataset=csv dataset.path=one_row.csv
dataset=csv dataset.path=one_column.csv
dataset=csv dataset.path=one_class.csv
dataset=csv dataset.path=missing.csv
dataset=csv dataset.path=missing_targets.csv
dataset=csv dataset.path=twice.csv
dataset=csv dataset.path=wide.csv
dataset=csv dataset.path=latin.csv
dataset=csv dataset.path=zero.csv
dataset=csv dataset.path=quote.csv
dataset=csv dataset.path=huge.csv
dataset=csv dataset.path=identifiers.csv
dataset=csv dataset.path=constant.csv dataset.kind=regression
dataset=csv dataset.path=iris.csv dataset.rare=keep
dataset=csv dataset.path=iris.csv dataset.rare_rows=0
dataset=csv dataset.path=iris.csv dataset.rare_rows=30 dataset.rare=merge
dataset=csv dataset.path=missing_targets.csv dataset.missing_target=drop
dataset=csv dataset.path=iris.csv dataset.missing_target=fill
dataset=csv dataset.path=identifiers.csv dataset.high_cardinality=embed
dataset=csv dataset.path=identifiers.csv dataset.high_cardinality=hash dataset.hash_features=1
dataset=csv dataset.path=iris.csv dataset.text=review
dataset=csv dataset.path=iris.csv dataset.text=7
dataset=csv dataset.path=iris.csv dataset.text=x dataset.text_as=tokens
dataset=csv dataset.path=iris.csv dataset.categories=[none]
dataset=csv dataset.path=iris.csv dataset.colour=red
dataset=csv dataset.path=iris.csv dataset.dates=[x]
dataset=csv dataset.path=iris.csv 'dataset.dates={x: "%Y"}'
dataset=csv dataset.path=iris.csv 'dataset.dates={x: "%Q"}'
dataset=parquet
dataset=parquet dataset.path=none.parquet
dataset=parquet dataset.path=iris.csv
dataset=arrow dataset.path=iris.csv
dataset=feather dataset.path=empty.csv
dataset=excel dataset.path=iris.csv
dataset=npy dataset.path=iris.csv
dataset=npy dataset.path=none.npy
dataset=npy dataset.path=cube.npy
dataset=npz dataset.path=cube.npy
dataset=safetensors dataset.path=saved/0/weights.safetensors
dataset=python
dataset=python dataset.source=nothing.load
dataset=python dataset.source=own_code.data
dataset=python dataset.source=own_code.data +dataset.arguments.deed=raise
dataset=python dataset.source=own_code.data +dataset.arguments.deed=nothing
dataset.source=own_code.data dataset=python +dataset.arguments.deed=stream
dataset=python dataset.source=own_code.data dataset.validation=kept
dataset=imagefolder
dataset=imagefolder dataset.path=none
dataset=imagefolder dataset.path=own
dataset=imagefolder dataset.path=pictures
dataset=imagefolder dataset.path=pictures dataset.size=0
dataset=imagefolder dataset.path=pictures dataset.channels=blue
dataset=images dataset.path=iris.csv
dataset=images dataset.path=iris.csv dataset.image=picture
dataset=images dataset.path=none.csv
dataset=huggingface dataset.path=folder
dataset=openml dataset.id=adult
dataset=sklearn dataset.name=iris
dataset=torchvision dataset.name=Nothing
search=random
+search=nothing
+search=tpe search.num_candidates=1
+search=tpe search.num_candidates=many
+search=tpe search.num_seeds=0
+search=tpe search.development=1
+search=tpe search.development=0
+search=tpe search.objectives=[]
+search=tpe search.objectives=[val/nothing]
+search=tpe search.objectives=7
+search=tpe search.batch=0
+search=tpe search.sampler=null
+search=tpe search.sampler._target_=optuna.nothing
+search=tpe search.pruning.eta=1
+search=tpe search.space.optimizer.lr=7
+search=tpe search.space.optimizer.lr={low:1,high:0}
+search=tpe search.space.optimizer.lr={low:a,high:b}
+search=tpe search.space.optimizer.lr={low:-1,high:1,log:true}
+search=tpe search.space.optimizer.lr={choices:[]}
+search=tpe search.space.optimizer.nothing={low:1,high:2}
+search=tpe search.space.split.test={low:0.1,high:0.2}
+search=tpe search.space.activation={choices:[relu,tanh]}
+search=tpe search.space.model.depth={low:0,high:2}
hydra.run.dir=/dev/null/logs
hydra.run.dir=null
hydra/launcher=nothing
hydra/sweeper=nothing
hydra.nothing=1
hydra=null
key
=5
a=b=c
'num_seeds=[1'
'num_seeds={'
num_seeds=(
"num_seeds='"
+seed=3
++=3
a b
--nothing
--cfg
--cfg everything
--config-dir none
--config-dir iris.csv
--config-name none
--config-path none
--experimental-rerun none.pickle
--resolve
-m --cfg job
"""
SWEEPS = """
optimizer=sgd,adam
-m hydra/sweeper=basic optimizer=sgd,adam
-m 'model.depth=range(0,0)'
-m 'model.depth=range(3,1)'
-m 'model.depth=range(1,3,0)'
-m 'model.depth=range(1)'
-m 'model.depth=glob(x)'
-m 'optimizer=glob(x*)'
-m 'optimizer.lr=interval(0,1)'
-m 'optimizer.lr=choice()'
-m optimizer=sgd,adan
-m task.metric=accuracy,macro_f1
-m optimizer=sgd,adam dataset=iris task.metric=accuracy,macro_f1
-m optimizer=sgd,null
-m optimizer=sgd,
-m model.depth=1,0
-m model.depth=1,two
-m num_seeds=1,2 optimizer=sgd,adam
-m seed=0,1e25
-m dataset=iris,nothing
-m dataset=csv dataset.path=iris.csv,none.csv
-m dataset=iris,wine evaluation.factor=dataset
-m optimizer=sgd,adam evaluation.baseline=lion
-m optimizer=sgd,adam evaluation.factor=optimiser
+sweep=nothing
+sweep=optimizers dataset=iris optimizer=sgd
+sweep=optimizers dataset=iris hydra.launcher.workers=0
+sweep=optimizers dataset=iris hydra.launcher.jobs_per_gpu=0
+sweep=optimizers dataset=iris hydra.launcher.threads=many
+sweep=optimizers dataset=iris hydra.sweep.dir=/dev/null/x
+sweep=optimizers dataset=iris hydra/launcher=basic trainer.devices=2 trainer.strategy=ddp
+sweep=optimizers hydra.sweeper.params=7
+sweep=optimizers dataset=iris model.depth=2,0
+sweep=[optimizers,depths] dataset=iris optimizer=sgd,adan
"""
OWN = """
--config-dir own optimizer=broken
--config-dir own optimizer=tabs
--config-dir own optimizer=latin
--config-dir own optimizer=binary
--config-dir own optimizer=list
--config-dir own optimizer=text
--config-dir own optimizer=nothing_in_it
--config-dir own optimizer=no_target
--config-dir own optimizer=twice
--config-dir own optimizer=alias
--config-dir own optimizer=itself
--config-dir own optimizer=elsewhere
--config-dir own optimizer=defaults
--config-dir own optimizer=tagged
--config-dir own +sweep=broken
--config-dir own +sweep=no_params
--config-dir own +sweep=empty
--config-dir own model=raises_at_import
--config-dir own model=exits_at_import
--config-dir own model=interrupted_syntax
--config-dir own model=raises_when_built
--config-dir own model=exits_when_built
--config-dir own model=returns_nothing
--config-dir own model=returns_text
--config-dir own model=wrong_shape
--config-dir own model=no_parameters
--config-dir own model=no_module
--config-dir own model=missing_argument
--config-dir own dataset=raises
--config-dir own dataset=exits
--config-dir own dataset=returns_nothing
"""
REPORT = """

nowhere
nowhere --index
t.csv
t.csv --baseline none
t.csv --baseline A --rope 0
t.csv --baseline A --rope x
t.csv --baseline A --rope nan
t.csv --baseline A --unit ms
t.csv --baseline A --span=1,0
t.csv --baseline A --span=low,high
t.csv --baseline A --direction up
t.csv --baseline A --nothing
t.csv --baseline A --effect ratio --rope 2
t.csv --baseline A --rope 2%
t.csv --baseline A --require score
t.csv --baseline A --require score:better --against 1
t.csv --against nan
t.csv --baseline A --format peft
t.csv --baseline A --test-size 0
--curves t.csv --target 0.5
--curves t.csv --target high
*.parquet --baseline A
t.csv --baseline A --out iris.csv
t.csv --baseline A --out /proc/none
t.csv --baseline A --map technique
t.csv --baseline A --map score=nothing
t.csv --baseline A --map score=technique
t.csv --baseline A --where workload
t.csv --baseline A --where workload=x
t.csv --baseline A --where nothing=x
same/same.csv --baseline A --map score=score --out same
t.csv --baseline A --wide
t.csv --index
empty.csv --baseline A
header.csv --baseline A
iris.csv --baseline A
latin.csv --baseline A
zero.csv --baseline A
quote.csv --baseline A
wide.csv --baseline A
twice.csv --baseline A
one_technique.csv --baseline A
huge_seed.csv --baseline A
text_seed.csv --baseline A
half_seed.csv --baseline A
no_seed.csv --baseline A
text_score.csv --baseline A
infinite_score.csv --baseline A
no_score.csv --baseline A
state.csv --baseline A
direction.csv --baseline A
all_failed.csv --baseline A
no_name.csv --baseline A
percent.csv --baseline A
percent.csv --baseline A --metric accuracy --rope 0.1
folder
folder_list
folder_broken
. --map technique=x
--from nothing x
--from wandb-offline nowhere --baseline A
--from mlflow nowhere --baseline A
--from tensorboard nowhere --baseline A
--from tensorboard . --baseline A
--from mlflow . --map technique --baseline A
"""
COMPARE = """

t.csv
nowhere nowhere
t.csv t.csv
t.csv t.csv --baseline none
t.csv empty.csv --baseline A
empty.csv t.csv --baseline A
t.csv latin.csv --baseline A
t.csv one_technique.csv --baseline A
t.csv percent.csv --baseline A
t.csv other_names.csv --baseline B
t.csv other_workload.csv --baseline A
t.csv folder --baseline A
folder folder
t.csv t.csv --baseline A --rope -1
t.csv t.csv --nothing
"""
STORE = """
sync --store nonsense
sync --store sqlite:///nowhere.sqlite
sync --store sqlite:///iris.csv
sync --store sqlite:///other.sqlite
sync --store sqlite:///newer.sqlite
sync --store sqlite:///. nothing
sync --store sqlite:///here.sqlite nothing
sync --nothing
dashboard
dashboard nothing
dashboard nothing --store nonsense
dashboard nothing --store sqlite:///here.sqlite
"""
FAILING = """
--config-dir own model=raises_in_forward dataset=moons
-m --config-dir own model=raises_in_forward,mlp dataset=moons
--config-dir own model=exits_in_training dataset=moons trainer.verify=false
"""
SMALL = "num_seeds=1 budget.epochs=1 tracker=none cost.rounds=0"
"""Ends the lines of cells that fail, which comes out when they train."""
WEIGHTS = ("nowhere", ".", "iris.csv", *(f"saved/{number}" for number in range(9)))

ROWS = "x,y,label\n" + "".join(f"{row},{row % 7},{'ab'[row % 2]}\n" for row in range(40))
TABLE = "technique,workload,seed,score\nA,w,0,0.8\nB,w,0,0.9\nA,w,1,0.8\nB,w,1,0.85\n"
FILES: dict[str, str | bytes] = {
    "iris.csv": ROWS,
    "empty.csv": "",
    "header.csv": "x,y,label\n",
    "one_row.csv": "x,y,label\n1,2,a\n",
    "one_column.csv": "x\n1\n2\n3\n",
    "one_class.csv": ROWS.replace(",b", ",a"),
    "missing.csv": "x,y,label\n" + ",,a\n,,b\n" * 20,
    "missing_targets.csv": "x,y,label\n" + "1,2,\n" * 40,
    "twice.csv": ROWS.replace("x,y", "x,x"),
    "wide.csv": ROWS + "1,2,3,4,a\n",
    "latin.csv": ROWS.encode() + "1,2,é\n".encode("latin-1"),
    "zero.csv": ROWS + "1,\0,a\n",
    "quote.csv": ROWS + '1,"2,a\n',
    "huge.csv": ROWS + "1e300,2,a\n1e999,2,a\n",
    "identifiers.csv": "x,y,label\n" + "".join(f"k{row},{row},{'ab'[row % 2]}\n" for row in range(200)),
    "constant.csv": "x,y,label\n" + "".join(f"{row},{row},1\n" for row in range(40)),
    "pictures/cat/broken.png": "no image",
    "t.csv": TABLE,
    "same/same.csv": TABLE,
    "one_technique.csv": TABLE.replace("B", "A"),
    "huge_seed.csv": TABLE.replace(",1,", ",1e25,"),
    "text_seed.csv": TABLE.replace(",1,", ",one,"),
    "half_seed.csv": TABLE.replace(",1,", ",0.5,"),
    "no_seed.csv": TABLE.replace(",1,", ",,"),
    "text_score.csv": TABLE.replace("0.85", "good"),
    "infinite_score.csv": TABLE.replace("0.85", "1e999"),
    "no_score.csv": TABLE.replace("0.85", ""),
    "state.csv": "".join(
        f"{line},{'state' if not number else 'DONE'}\n" for number, line in enumerate(TABLE.splitlines())
    ),
    "direction.csv": "".join(
        f"{line},{'up' if number else 'direction'}\n" for number, line in enumerate(TABLE.splitlines())
    ),
    "all_failed.csv": "".join(
        f"{line},{'FAILED' if number else 'state'}\n" for number, line in enumerate(TABLE.splitlines())
    ),
    "no_name.csv": TABLE.replace("B", ""),
    "percent.csv": TABLE.replace("0.", "80."),
    "other_names.csv": TABLE.replace("A", "C").replace("B", "D"),
    "other_workload.csv": TABLE.replace("w,", "v,"),
    "folder/evaluation.json": "{}",
    "folder_list/evaluation.json": "[1]",
    "folder_broken/evaluation.json": "{",
    "own/optimizer/broken.yaml": "_target_: torch.optim.SGD\nlr: [0.1\n",
    "own/optimizer/tabs.yaml": "_target_: torch.optim.SGD\n\tlr: 0.1\n",
    "own/optimizer/latin.yaml": "_target_: torch.optim.SGD\n# é\n".encode("latin-1"),
    "own/optimizer/binary.yaml": bytes(range(256)),
    "own/optimizer/list.yaml": "- 1\n- 2\n",
    "own/optimizer/text.yaml": "torch.optim.SGD\n",
    "own/optimizer/nothing_in_it.yaml": "",
    "own/optimizer/no_target.yaml": "lr: 0.1\nbatch_size: 8\n",
    "own/optimizer/twice.yaml": "lr: 0.1\nlr: 0.2\n",
    "own/optimizer/alias.yaml": "_target_: *nothing\n",
    "own/optimizer/itself.yaml": "defaults: [itself]\nlr: 0.1\n",
    "own/optimizer/elsewhere.yaml": "defaults: [nothing]\nlr: 0.1\n",
    "own/optimizer/defaults.yaml": "defaults: 7\nlr: 0.1\n",
    "own/optimizer/tagged.yaml": "!!python/object/apply:os.getcwd []\n",
    "own/sweep/broken.yaml": "# @package _global_\nhydra: {sweeper: {params: {optimizer: sgd,adam\n",
    "own/sweep/no_params.yaml": "# @package _global_\nhydra:\n  sweeper:\n    params: [optimizer]\n",
    "own/sweep/empty.yaml": "# @package _global_\nhydra:\n  sweeper:\n    params:\n      model.depth: range(0,0)\n",
    "own_exits.py": "raise SystemExit(0)\n",
    "own_raises.py": "raise RuntimeError('at\\nimport')\n",
    "own_syntax.py": "class Network(:\n",
    "own_code.py": """
import sys
from torch import nn

print("hello from own code")

class Network(nn.Module):
    def __init__(self, in_features, out_features, deed):
        super().__init__()
        self.layer, self.deed = nn.Linear(in_features, out_features), deed
        if deed == "raise":
            raise RuntimeError("first\\nlast")
        if deed == "exit":
            sys.exit(0)

    def forward(self, inputs):
        outputs = self.layer(inputs)
        if self.deed == "exit in training" and self.training and len(inputs) > 30:
            sys.exit(0)
        if self.deed == "raise in forward":
            raise KeyError("no such thing")
        return {"none": None, "text": "text", "shape": outputs[:1]}.get(self.deed, outputs)

class Constant(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()

    def forward(self, inputs):
        return inputs

class NoModule:
    def __init__(self, in_features, out_features):
        pass

def data(deed):
    if deed == "stream":
        return (row for row in range(9))
    if deed == "raise":
        raise KeyError("no such data")
    if deed == "exit":
        sys.exit(0)
""",
    **{
        f"own/model/{name}.yaml": text
        for name, text in {
            "raises_at_import": "_target_: own_raises.Network\n",
            "exits_at_import": "_target_: own_exits.Network\n",
            "interrupted_syntax": "_target_: own_syntax.Network\n",
            "raises_when_built": "_target_: own_code.Network\ndeed: raise\n",
            "exits_when_built": "_target_: own_code.Network\ndeed: exit\n",
            "raises_in_forward": "_target_: own_code.Network\ndeed: raise in forward\n",
            "exits_in_training": "_target_: own_code.Network\ndeed: exit in training\n",
            "returns_nothing": "_target_: own_code.Network\ndeed: none\n",
            "returns_text": "_target_: own_code.Network\ndeed: text\n",
            "wrong_shape": "_target_: own_code.Network\ndeed: shape\n",
            "no_parameters": "_target_: own_code.Constant\n",
            "no_module": "_target_: own_code.NoModule\n",
            "missing_argument": "_target_: own_code.Network\n",
        }.items()
    },
    "own/dataset/raises.yaml": "_target_: own_code.data\ndeed: raise\n",
    "own/dataset/exits.yaml": "_target_: own_code.data\ndeed: exit\n",
    "own/dataset/returns_nothing.yaml": "_target_: own_code.data\ndeed: nothing\n",
}
BUFFER = io.BytesIO()
np.save(BUFFER, np.zeros((12, 4, 4)))
FILES["cube.npy"] = BUFFER.getvalue()
DESCRIPTIONS: list[str] = [
    "",
    "{",
    "[]",
    "{}",
    "7",
    json.dumps({"activation": 7}),
    json.dumps({"activation": {"gain": 1}, "model": {}, "features": [], "image": None}),
    json.dumps({"base": "../../x"}),
    json.dumps({"activation": {"_target_": "nothing", "gain": 1}, "model": {"_target_": "nothing"}, "features": ["a"],
                "image": None, "out_features": 1, "vocabulary": None, "kind": "none", "precision": "x"}),
]  # fmt: skip


@pytest.fixture
def files(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bad files, in the folder that everything is run in."""
    monkeypatch.syspath_prepend(str(workspace))
    for name, content in FILES.items():
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for number, text in enumerate(DESCRIPTIONS):
        folder = workspace / "saved" / str(number)
        folder.mkdir(parents=True)
        (folder / weights.DESCRIPTION).write_text(text)
        save_file({"network.weight": np.zeros(2)}, folder / weights.WEIGHTS)
    for name, statement in (("other", "create table t (a)"), ("newer", "create table schema (version)")):
        with sqlite3.connect(workspace / f"{name}.sqlite") as connection:
            connection.execute(statement)
            if name == "newer":
                connection.execute("insert into schema values (99)")
        connection.close()
    Store(f"sqlite:///{workspace}/here.sqlite").close()
    return workspace


def evalbench(arguments: list[str]) -> int:
    """Run the command line in this process, one cell after another."""
    logging = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    launcher = [] if any("hydra/launcher" in text for text in arguments) else ["hydra/launcher=basic"]
    sys.argv = ["evalbench", *arguments, *launcher, *logging]
    __main__.main()
    return 0


def store(arguments: list[str]) -> int:
    """Run one of the programs that need nothing but a store."""
    return {"sync": sync.main, "dashboard": dashboard.main}[arguments[0]](arguments[1:])


def load(arguments: list[str]) -> int:
    """Load weights from Python, where an error is the one line."""
    try:
        weights.load(*arguments)
    except InputError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


def wrong(program: Program, line: str, folder: Path, lines_said: set[str]) -> str | None:
    """Run a program on a bad input; return what is wrong with how it ended, if anything is."""
    before = list(folder.rglob("report.md"))
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            code = program(shlex.split(line))
        except SystemExit as leaving:
            code = leaving.code  # type: ignore[assignment]
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
    said = errors.getvalue()
    print(f"{code}  {line}\n   {said.rstrip()}")
    if line.endswith(SMALL):
        whole = output.getvalue() + said
        return whole if code != 1 or "FAILED " not in whole or "Traceback" in whole else None
    lines_said.add(said)
    if code != 2:
        return f"exit code {code}: {output.getvalue()[-300:]}{said}"
    if said.count("\n") != 1 or "Traceback" in said or len(said) < 20:
        return f"no line: {said}"
    return None if list(folder.rglob("report.md")) == before else "a report was written"


def lines(text: str) -> list[str]:
    """Return the command lines of a list."""
    return text.split("\n")[1:-1]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("program", "inputs"),
    [
        *(pytest.param(evalbench, lines(OVERRIDES)[part::4], id=f"overrides{part}") for part in range(4)),
        pytest.param(evalbench, lines(SWEEPS), id="sweeps"),
        pytest.param(evalbench, lines(OWN), id="own"),
        pytest.param(evalbench, [f"{line} {SMALL}" for line in lines(FAILING)], id="failing"),
        pytest.param(report.main, lines(REPORT), id="report"),
        pytest.param(compare.main, lines(COMPARE), id="compare"),
        pytest.param(store, lines(STORE), id="store"),
        pytest.param(load, WEIGHTS, id="weights"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_every_bad_input_ends_in_one_line(
    files: Path, monkeypatch: pytest.MonkeyPatch, program: Program, inputs: Iterable[str]
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)  # it composes all for hydra.mode
    said: set[str] = set()
    failures = {line: found for line in inputs if (found := wrong(program, line, files, said))}
    print(f"{len(list(inputs)) - len(failures)} of {len(list(inputs))} end as they should")
    assert not failures, "\n".join(f"{line}\n    {found}" for line, found in failures.items())
    assert len(said) >= len(list(inputs)) / 2 or not said  # a fault that all share would look like a refusal
