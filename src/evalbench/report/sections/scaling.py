"""How the loss falls with the size of a model and of its training: a power law, and whether it foretold a size."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from evalbench.names import code, one_line, plain, short
from evalbench.report.analysis.findings import Findings
from evalbench.report.analysis.scaling import SYMBOLS, Law
from evalbench.report.plots.scaling import COLORS, FORETOLD, LAW, MEASURED, name, parts, series
from evalbench.report.plots.scaling import scaling as plot
from evalbench.report.render import style
from evalbench.report.render.units import counted, listed, p_is
from evalbench.report.section import Chart, Section, numbers_of
from evalbench.statistics.intervals import Floats
from evalbench.statistics.scaling import EXPONENTS, MIN_SEEDS, PowerLaw

GREEK = "αβ"
FACTORS = "AB"
BEYOND = 2
"""How many times the largest size a law is asked for, beyond all that was trained."""
MOST_NAMED = 6  # sizes that were left out
CURVE = 40  # points of a curve


def scaled(findings: Findings) -> tuple[Law, ...] | None:
    """Return the laws, if the evaluation varies a size."""
    return findings.laws or None


def text(laws: tuple[Law, ...]) -> str:
    """Return what each law says, how far it is to be believed, and how it was fitted."""
    told = "\n\n".join(_told(law) for law in laws)
    fitted = [law.fitted for law in laws if law.fitted]
    numbers = f"\n\n{_how(fitted)} {numbers_of('scaling_laws')}" if fitted else ""
    return f"## How does the loss fall with size?\n\n{told}{numbers}"


def _told(law: Law) -> str:
    subject = f"On {code(law.workload)}" + "".join(f", {code(f'{key}={value}')}" for key, value in law.setting.items())
    if law.fitted is None:
        lines = [f"{subject}: no power law is fitted, because {law.why_not}."]
    else:
        lines = [f"{subject}, {_formula(law, law.fitted)}:", *_findings(law, law.fitted)]
    if law.remark:
        lines.append(f"- {law.remark[0].upper()}{law.remark[1:]}.")
    if law.left_out:
        more = [f"{len(law.left_out) - MOST_NAMED} more"] if len(law.left_out) > MOST_NAMED else []
        sizes = listed([*map(plain, law.left_out[:MOST_NAMED]), *more])
        lines.append(f"- Left out, because trials diverged or failed: {sizes}.")
    return "\n".join([lines[0], "", *lines[1:]])


def _formula(law: Law, fitted: PowerLaw) -> str:
    terms = [
        f"{_short(math.exp(fitted.law.log_factors[0, k]))} / {SYMBOLS[axis]}^{fitted.law.exponents[0, k]:.2f}"
        for k, axis in enumerate(law.axes)
    ]
    floor = [f"{_short(fitted.law.floors[0])}"] if fitted.has_floor else []
    where = listed([f"{SYMBOLS[axis]} {axis}" for axis in law.axes])
    return f"the {plain(law.loss)} falls as **L = {' + '.join([*floor, *terms])}**, with {where}"


def _findings(law: Law, fitted: PowerLaw) -> list[str]:
    lines = [_exponent(law, fitted, k) for k in range(len(law.axes))]
    lines.append(_floor(fitted))
    lines.append(_held_out(law, fitted))
    lines.append(_fit(law, fitted))
    lines.append(_beyond(law, fitted))
    if len(law.axes) > 1 and not any(_open(*fitted.exponent(axis)[1:]) for axis in range(len(law.axes))):
        share = _interval(*fitted.share_of_first)
        lines.append(
            f"If compute grows as {law.axes[0]} times {law.axes[1]}, the best {law.axes[0]} grow as compute to the"
            f" power β / (α + β) = {share}."
        )
    if fitted.num_seeds < MIN_SEEDS:
        lines.append(f"No number has an interval: all sizes share fewer than {MIN_SEEDS} seeds.")
    return [f"- {line}" for line in lines]


def _exponent(law: Law, fitted: PowerLaw, axis: int) -> str:
    value, low, high = fitted.exponent(axis)
    less = 100 * (1 - 2**-value)
    size, letter = law.axes[axis], GREEK[axis]
    known = (
        f"twice the {size} take away {less:.0f} % of what more {size} can take away at all"
        if not _open(low, high)
        else f"its interval reaches the end of what was searched, {EXPONENTS[0]:g} to {EXPONENTS[1]:g}, so these sizes"
        " do not tell it"
    )
    return f"The exponent of {size} is {letter} = {_interval(value, low, high)}: {known}."


def _open(low: float, high: float) -> bool:
    return low <= 1.001 * EXPONENTS[0] or high >= 0.999 * EXPONENTS[1]


def _floor(fitted: PowerLaw) -> str:
    if not fitted.has_floor:
        return "There are too few sizes to fit a loss E that remains at any size: the law is fitted without one."
    value, low, high = fitted.floor
    said = f"E, the loss that would remain at any size, is {_interval(value, low, high)}"
    if low <= 1e-3 * fitted.losses.min():
        return f"{said}: the data do not tell it from 0."
    return f"{said}."


def _held_out(law: Law, fitted: PowerLaw) -> str:
    held = fitted.held_out
    if held is None:
        return "**Whether it extrapolates is not known**: too few sizes are left without the largest."
    if len(law.axes) > 1:
        without = f"without the largest {law.axes[0]}"
        sizes = held.sizes
        ratio = sizes[0] / fitted.sizes[fitted.sizes[:, 0] < sizes[0], 0].max()
    else:
        without = "without the largest size"
        ratio = held.sizes[0] / np.unique(fitted.sizes[:, 0])[-2]
    at = _at(law, held.sizes)
    said = (
        f"fitted {without}, it foretells {_loss(held.loss, held.low, held.high)} at {at},"
        f" {ratio:.2g} times what it has seen; measured {_four(held.measured)}"
    )
    if held.held is None:
        return f"**Whether it extrapolates is not known**, for want of an interval: {said}."
    if held.held:
        return f"**The extrapolation held**: {said}, inside the interval."
    where = "above" if held.measured > held.high else "below"
    return f"**The extrapolation did not hold**: {said}, {where} the interval."


def _fit(law: Law, fitted: PowerLaw) -> str:
    misfit, noise = 100 * fitted.misfit, 100 * fitted.noise
    if math.isnan(fitted.p_value):
        return (
            f"The means deviate from the law by {misfit:.2g} %; whether that is more than noise is not known without"
            " several seeds."
        )
    compared = f"The means deviate from the law by {misfit:.2g} %, and seeds alone move a mean by {noise:.2g} %"
    if fitted.fits_badly:
        return (
            f"**The law fits badly**: {compared.replace('The', 'the', 1)} ({p_is(fitted.p_value)}). Its intervals know"
            f" the noise of seeds alone, so they are too narrow.{_shapes(law)}"
        )
    return f"{compared}: no sign that the law is wrong ({p_is(fitted.p_value)})."


def _shapes(law: Law) -> str:
    """Return what may be behind a bad fit: the same size in several shapes."""
    if len(law.shapes) < 2:
        return ""
    each = listed([code(name) for name in law.shapes])
    return f" Each of {each} changes the {law.axes[0]}, and the law takes them as the same: vary one of them alone."


def _beyond(law: Law, fitted: PowerLaw) -> str:
    sizes = fitted.sizes[-1:] * np.array([BEYOND, *[1] * (len(law.axes) - 1)])
    loss, low, high = (float(values[0]) for values in fitted.at(sizes))
    checked = fitted.held_out is not None and fitted.held_out.held is False
    doubt = ". Do not rely on it: see above" if checked or fitted.fits_badly else ""
    return f"At {_at(law, sizes[0])}, beyond every size that was trained, it says {_loss(loss, low, high)}{doubt}."


def _how(fitted: list[PowerLaw]) -> str:
    drawn = any(law.draws is not None for law in fitted)
    intervals = " The 95 % intervals draw the seeds anew, each with its losses at all sizes." if drawn else ""
    return (
        "The logarithms of the mean losses are fitted by the Huber loss from a grid of starts (Hoffmann et al., 2022,"
        f" approach 3).{intervals} A law holds for the settings that all sizes share, such as the learning rate: other"
        " settings at each size may give another one."
    )


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if math.isfinite(low) else "")


def _loss(value: float, low: float, high: float) -> str:
    return _four(value) + (f" [{_four(low)}, {_four(high)}]" if math.isfinite(low) else "")


def _four(value: float) -> str:
    return f"{value:#.4g}"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1e6 else counted(value)


def _at(law: Law, sizes: Floats) -> str:
    return listed([f"{counted(float(value))} {axis}" for axis, value in zip(law.axes, sizes, strict=True)])


def table(laws: tuple[Law, ...]) -> pd.DataFrame:
    """Return a row per number of each law, with its interval."""
    rows = []
    for law in laws:
        if (fitted := law.fitted) is None:
            continue
        numbers: list[tuple[str, tuple[float, float, float]]] = [("E", fitted.floor)] if fitted.has_floor else []
        for k, axis in enumerate(law.axes):
            numbers.append((f"{FACTORS[k]} of {axis}", (math.exp(fitted.law.log_factors[0, k]), math.nan, math.nan)))
            numbers.append((f"exponent of {axis}", fitted.exponent(k)))
        if len(law.axes) > 1:
            numbers.append((f"compute exponent of {law.axes[0]}", fitted.share_of_first))
        if fitted.held_out is not None:
            held = fitted.held_out
            numbers.append(("loss foretold", (held.loss, held.low, held.high)))
            numbers.append(("loss measured", (held.measured, math.nan, math.nan)))
        numbers.append(("relative misfit", (fitted.misfit, math.nan, math.nan)))
        numbers.append(("relative noise of a mean", (fitted.noise, math.nan, math.nan)))
        rows += [
            {"workload": law.workload, **law.setting, "number": number, "value": value, "low": low, "high": high}
            for number, (value, low, high) in numbers
        ]
    return pd.DataFrame(rows)


def points(laws: tuple[Law, ...]) -> pd.DataFrame:
    """Return a row per measured size, per point of a curve, and per prediction of a size that was held out."""
    return pd.concat([_points(law, law.fitted) for law in laws if law.fitted], ignore_index=True)


def _points(law: Law, fitted: PowerLaw) -> pd.DataFrame:
    first, others = law.axes[0], list(law.axes[1:])
    frames = [pd.DataFrame(fitted.sizes, columns=list(law.axes)).assign(kind=MEASURED, loss=fitted.losses)]
    largest = fitted.sizes[:, 0].max()
    curve = np.geomspace(fitted.sizes[:, 0].min(), BEYOND * largest, CURVE)
    curve = np.sort(np.append(curve, largest))
    for level in np.unique(fitted.sizes[:, 1]) if others else [math.nan]:
        sizes = np.column_stack([curve, np.full(len(curve), level)])[:, : len(law.axes)]
        loss, low, high = fitted.at(sizes)
        frames.append(pd.DataFrame(sizes, columns=list(law.axes)).assign(kind=LAW, loss=loss, low=low, high=high))
    if (held := fitted.held_out) is not None:
        row = dict(zip(law.axes, held.sizes, strict=True))
        frames.append(pd.DataFrame([{**row, "kind": FORETOLD, "loss": held.loss, "low": held.low, "high": held.high}]))
    table = pd.concat(frames, ignore_index=True).rename(columns={first: "size", **dict.fromkeys(others, "length")})
    about = {"workload": law.workload, **law.setting, "size_in": first, "length_in": ", ".join(others)}
    return table.assign(**about)[
        [*about, *(c for c in ("kind", "size", "length", "loss", "low", "high") if c in table)]
    ]


def draw(laws: tuple[Law, ...]) -> Figure:
    """Draw a panel per law on logarithmic axes: means, curves with bands, and the size that was held out."""
    each = list(parts(points(laws)))
    shown = style.fitting(each, 3.4, 2)
    figure, axes = style.panels(len(shown), 3.4, 2)
    for axis, rows in zip(axes, shown, strict=True):
        _panel(axis, rows)
    return figure


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
    for index, (label, part) in enumerate(series(rows)):
        color = COLORS[index]
        law, measured = part[part["kind"] == LAW], part[part["kind"] == MEASURED]
        largest = measured["size"].max() if len(measured) else math.inf
        inside, outside = law[law["size"] <= largest], law[law["size"] >= largest]
        axis.plot(inside["size"], inside["loss"], color=color, lw=1.4)
        axis.plot(outside["size"], outside["loss"], color=color, lw=1.4, ls=(0, (2, 1.5)))
        axis.fill_between(law["size"], law["low"], law["high"], color=color, alpha=0.15, lw=0)
        axis.plot(measured["size"], measured["loss"], style.marker(index), ms=5, color=color, label=label)
    for held in rows[rows["kind"] == FORETOLD].to_dict("records"):
        axis.plot([held["size"]] * 2, [held["low"], held["high"]], color=style.GRAY, lw=4, alpha=0.5, label=FORETOLD)
        axis.plot([held["size"]], [held["loss"]], "o", ms=9, mfc="none", mec=style.GRAY, mew=1.4)
    axis.axvline(rows.loc[rows["kind"] == MEASURED, "size"].max(), color=style.GRAY, lw=0.8, ls=":")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axis.yaxis.set_minor_formatter(lambda value, _: f"{value:.3g}")
    axis.tick_params(axis="y", which="minor", labelsize=7.5)
    axis.xaxis.set_major_formatter(_tick)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(str(rows["size_in"].iloc[0]))
    axis.set_ylabel("loss")
    axis.set_title(short(one_line(name(rows)), 60), loc="left")
    axis.grid(which="both", axis="y")
    axis.legend(fontsize=7.5, loc="lower left")


def _tick(value: float, _: float) -> str:
    size, letter = next(((s, u) for s, u in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")) if value >= s), (1.0, ""))
    return f"{value / size:.3g}{letter}"


def alt(laws: tuple[Law, ...]) -> str:
    """Return the text for those who cannot see the figure."""
    return f"Loss by size on logarithmic axes, with the power law of {', '.join(law.workload for law in laws)}"


SCALING = Section(
    scaled,
    text,
    {"scaling_laws": table},
    (
        Chart(
            "scaling",
            draw,
            points,
            alt,
            lambda _: (
                "Points: means over seeds. Lines: the law with its 95 % band, dashed beyond the largest size. Ring and"
                " bar: what the law foretells of the largest size when it is fitted without it."
            ),
            shown=lambda laws: any(law.fitted for law in laws),
            plot=plot,
        ),
    ),
)
