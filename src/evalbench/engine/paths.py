"""Choose how the steps of a cohort run: its *path*.

- *batched*: one traced program for all members, `vmap` of the step of one trial.
- *lone*: one traced program for one trial, run for one member after the other. Its products are plain ones, and
  autograd's own kernels compute its gradients.
- *compiled*: either of these programs through Inductor. It takes seconds to compile, so it must be asked for.

Networks that cannot be traced train *one by one*, in plain PyTorch. Whether a program is replayed as a CUDA graph is
decided by `engine.graphs` on the spot, because the bits are the same.

The rule depends only on what is the same for each run of the same command: the kind of device, whether the cell plans
one trial or several, and the bytes of one trial's step. It does not depend on the number of members that happen to
train together, which shrinks when members end, when memory is short, and when the store has some of the trials already.
So a command that is resumed, repeated, or run with an empty store gives the same bytes. Results of different paths
differ by rounding.

`python -m benchmarks.paths` prints the timings that the rule was written from, and says where they disagree with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evalbench.config import Config

BATCHED, LONE, COMPILED = "batched", "lone", "compiled"
LARGE_BYTES = 8 * 2**20
"""The bytes of one member's intermediate results above which members share no processor cache on a CPU."""


@dataclass(frozen=True)
class PathRequest:
    """State what the choice of a path depends on, beside device and network."""

    path: str = "auto"
    """The configured path; auto: the rule decides."""
    several: bool = True
    """Whether the cell plans more than one trial, however many train now."""
    rows: int | None = None
    """The rows of one member in a whole pass; None: those of the first batch."""
    own_code: bool = False
    """Whether a user's own code runs in a step."""
    folder: Path | None = None
    """The folder of compiled programs."""


def request(config: Config, batch_size: int, own_code: bool) -> PathRequest:
    """Return what a cell's configuration says about the path."""
    rows = min(batch_size, config.microbatch_size or batch_size)
    return PathRequest(config.path, plans_several(config), rows, own_code, config.compile_folder)


def plans_several(config: Config) -> bool:
    """Return whether a cell plans more than one trial, however many train now."""
    return config.num_seeds > 1 or config.search is not None or config.evaluation.variance is not None


def choose(device: str, several: bool, member_bytes: Callable[[], int]) -> str:
    """Return the path for a type of device, one planned trial or several, and the peak bytes of one trial's step.

    A cell of a single trial has nothing to batch. On a CPU a batched step is faster as long as the processor mostly
    waits for Python between small operations. Once the numbers of one member exceed the cache, a batched operation
    moves all members' numbers through memory, and lone steps are faster. On other devices more members per operation
    are always faster.
    """
    if not several:
        return LONE
    return LONE if device == "cpu" and member_bytes() > LARGE_BYTES else BATCHED
