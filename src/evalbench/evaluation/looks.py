"""Seeds in stages: which techniques train the seeds of the next look, as the report of the last look says."""

from evalbench.evaluation.design import comparison
from evalbench.evaluation.plan import Plan
from evalbench.report import Report
from evalbench.report.analysis.findings import judged
from evalbench.store import Store


def reached(plan: Plan, store: Store) -> Plan:
    """Return the plan at the look that the evaluation has reached: at first every technique has the first look's seeds.

    The links in the store know it: each look links its trials before it trains them.
    """
    if len(plan.looks) == 1:
        return plan
    linked = {link.trial_id for link in store.links(plan.name)} if _is_known(plan, store) else set()
    seeds = dict.fromkeys(plan.techniques, plan.looks[0])
    for look in plan.looks:
        whole = plan.with_seeds(dict.fromkeys(plan.techniques, look))
        lacking = {whole.technique(cell) for cell in whole.cells if not linked.issuperset(cell.specs)}
        seeds |= dict.fromkeys(set(plan.techniques) - lacking, look)
    return plan.with_seeds(seeds)


def following(plan: Plan, report: Report) -> Plan:
    """Return the plan of the next look: techniques that have stopped keep their seeds; the baseline has the most.

    It has the same seeds as `plan` if every technique has stopped, or is at the last look.
    """
    findings = judged(report.findings)
    seeds = dict(plan.seeds)
    for verdict in findings.judged.verdicts if findings else ():
        if verdict.looks.stopped is None:
            seeds[verdict.challenger] = next(
                (look for look in plan.looks if look > seeds[verdict.challenger]), plan.looks[-1]
            )
    if plan.baseline is not None:
        seeds[plan.baseline] = max(seeds.values())
    return plan.with_seeds(seeds)


def _is_known(plan: Plan, store: Store) -> bool:
    """Return whether the store has this evaluation, with the same cells and the same comparison."""
    about = store.description(plan.name)
    if about is None or {cell["cell_id"] for cell in about["cells"]} != {cell.id for cell in plan.cells}:
        return False
    known = store.design(plan.name)
    return all(known.get(key) == value for key, value in comparison(plan).items())
