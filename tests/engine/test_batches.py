import torch
from torch import Tensor

from evalbench.engine.batches import Batches

ROWS = torch.stack([torch.arange(100, 110), torch.arange(200, 210)])  # two members, ten rows each


def all_steps(batches: Batches, stop: int, max_steps: int) -> list[Tensor]:
    """Return the batch `(C, B)` of every step."""
    return [step for chunk in batches.chunks(0, stop, max_steps) for step in chunk]


def test_an_epoch_shows_every_row_once_and_keeps_the_last_batch() -> None:
    batches = Batches(ROWS, 4, [1, 2])
    steps = all_steps(batches, batches.steps_per_epoch, 100)
    assert [step.shape[1] for step in steps] == [4, 4, 2]
    assert torch.equal(torch.cat(steps, dim=1).sort(dim=1).values, ROWS)


def test_epochs_differ_in_order() -> None:
    steps = all_steps(Batches(ROWS, 10, [1, 2]), 1, 100) + all_steps(Batches(ROWS, 5, [1, 2]), 4, 100)
    assert not torch.equal(torch.cat(steps[1:3], dim=1), torch.cat(steps[3:5], dim=1))


def test_the_steps_do_not_depend_on_how_they_are_cut_into_chunks() -> None:
    batches = Batches(ROWS, 3, [1, 2])
    whole = all_steps(batches, 11, 100)
    single = all_steps(batches, 11, 1)
    resumed = whole[:5] + [step for chunk in batches.chunks(5, 11, 2) for step in chunk]
    for expected, step, resumed_step in zip(whole, single, resumed, strict=True):
        assert torch.equal(expected, step)
        assert torch.equal(expected, resumed_step)


def test_a_members_order_does_not_depend_on_other_members() -> None:
    together = all_steps(Batches(ROWS, 3, [1, 2]), 8, 100)
    alone = all_steps(Batches(ROWS[1:], 3, [2]), 8, 100)
    assert all(torch.equal(pair[1], rows[0]) for pair, rows in zip(together, alone, strict=True))


def test_a_full_batch_is_all_rows_in_one_order() -> None:
    steps = all_steps(Batches(ROWS, 10, [1, 2]), 3, 100)
    assert all(torch.equal(step, ROWS) for step in steps)


def test_examples_are_counted_over_whole_and_broken_epochs() -> None:
    batches = Batches(ROWS, 4, [1, 2])
    assert [batches.examples(steps) for steps in (0, 1, 2, 3, 4, 6)] == [0, 4, 8, 10, 14, 20]
