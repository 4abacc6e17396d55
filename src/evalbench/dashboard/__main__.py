"""`evalbench dashboard EVALUATION` writes the W&B workspace and report of an evaluation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from evalbench import programs
from evalbench.dashboard.views import report, views, workspace
from evalbench.errors import InputError
from evalbench.mirror import described
from evalbench.names import one_line
from evalbench.sync import STORE, existing
from evalbench.tracking.libraries import require

TRACKER = "evalbench.tracking.wandb.WandbTracker"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both, or print their content if runs are offline; return the exit code."""
    return programs.run("error", lambda: _write(_parser().parse_args(arguments)))


def _write(asked: argparse.Namespace) -> int:
    about = described(existing(asked.store), asked.evaluation)
    known = [tracker for tracker in about["trackers"].values() if tracker["_target_"] == TRACKER]
    if not known:
        raise InputError(f"{asked.evaluation} is not mirrored to W&B: run it with tracker=wandb")
    entity, project = asked.entity or known[0]["entity"], asked.project or known[0]["project"]
    dashboard = views(asked.evaluation, about)
    if known[0]["mode"] != "online" and asked.entity is None:
        print(f"{asked.evaluation} is mirrored {known[0]['mode']}: nothing was written. Online, there would be:")
        print("\n".join(f"  {one_line(line)}" for line in dashboard.lines()))
        print("Send the runs with wandb sync, then give --entity NAME; docs/dashboards.md shows what needs no account.")
        return 0
    require("wandb_workspaces", "dashboards")
    try:
        entity = entity or _default_entity()
        for made in (workspace(dashboard, entity, project), report(dashboard, entity, project)):
            made.save()
            print(made.url)
    except Exception as error:  # of many classes: no login, no network, no such project
        lines = str(error).strip().splitlines() or [type(error).__name__]
        print(f"error: W&B did not take the dashboard of {entity}/{project}: {lines[0]}", file=sys.stderr)
        return 1
    return 0


def _default_entity() -> str:
    import wandb

    return str(wandb.Api(timeout=30).default_entity)


def _parser() -> argparse.ArgumentParser:
    parser = programs.Arguments(prog="evalbench dashboard", description=__doc__)
    parser.add_argument("evaluation", help="its name")
    parser.add_argument("--entity", help="where the runs are on W&B (default: as they were sent)")
    parser.add_argument("--project", help="likewise")
    parser.add_argument("--store", default=STORE, metavar="URL", help="the store (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
