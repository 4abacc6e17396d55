"""Write the W&B workspace and report of an evaluation."""

from evalbench.dashboard.views import Views, report, views, workspace

__all__ = ["Views", "report", "views", "workspace"]
