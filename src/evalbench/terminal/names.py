"""Long names at the terminal: the middle is left out, so that names that end differently stay different."""

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells


def cut(name: str, most: int) -> str:
    """Return a name of at most `most` columns, without its middle if it is longer."""
    if cell_len(name) <= most:
        return name
    head = chop_cells(name, max(1, most // 2))[0]
    tail = chop_cells(name[::-1], max(1, most - 1 - cell_len(head)))[0][::-1]
    return f"{head}…{tail}"


def cut_all(names: Sequence[str], most: int) -> list[str]:
    """Return names of at most `most` columns, all different if the names are: equal ones get their number."""
    shown = [cut(name, most) for name in names]
    for number, text in enumerate(shown):
        if text in shown[:number]:
            mark = f"~{number + 1}"
            shown[number] = cut(text, most - len(mark)) + mark
    return shown
