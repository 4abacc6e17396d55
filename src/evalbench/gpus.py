"""The CUDA devices that this process and the jobs it starts may use, and the memory that a job may take of one.

A job sees its devices and no others: `CUDA_VISIBLE_DEVICES` is set before CUDA starts in its process. The devices keep
the names that the user's own value gives them: a number, or the UUID of a GPU or of a part of one.
"""

import os
from collections.abc import Callable, Collection, Mapping

from evalbench.errors import ConfigError

ACCELERATORS = ("auto", "gpu", "cuda")
"""Values of `trainer.accelerator` that choose a CUDA device where there is one."""
VISIBLE_KEY = "CUDA_VISIBLE_DEVICES"
BYTES_KEY = "EVALBENCH_GPU_BYTES"
"""The variable that tells a job the bytes that it may take of each of its GPUs."""


def count() -> int:
    """Return the number of CUDA devices that torch sees, without starting CUDA where the driver's library tells."""
    import torch

    return torch.cuda.device_count()


def visible(
    accelerators: Collection[str],
    environment: Mapping[str, str] = os.environ,
    count: Callable[[], int] = count,
) -> tuple[str, ...]:
    """Return the GPUs for jobs with these accelerators, named as in `CUDA_VISIBLE_DEVICES`; none if none uses a GPU."""
    if not set(accelerators) & set(ACCELERATORS):
        return ()
    named, number = environment.get(VISIBLE_KEY), count()
    names = map(str, range(number)) if named is None else (name.strip() for name in named.split(","))
    return tuple(names)[:number]  # the driver ignores what follows a wrong name


def check(devices: int, accelerator: str, count: Callable[[], int] = count) -> None:
    """Refuse a job that asks for more devices than there are GPUs; raise `ConfigError`.

    Without any GPU, `auto` is the CPU, and Lightning refuses the other accelerators.
    """
    number = count() if devices > 1 and accelerator in ACCELERATORS else 0
    if 0 < number < devices:
        rule = f"must be at most {number}, the number of visible GPUs"
        raise ConfigError("trainer.devices", rule, devices, "use fewer devices, or trainer.accelerator=cpu")


def environment(names: Collection[str], max_bytes: int | None) -> dict[str, str]:
    """Return the variables of a job that uses some GPUs and at most `max_bytes` of each; no names: no variables."""
    if not names:
        return {}
    return {VISIBLE_KEY: ",".join(names), **({} if max_bytes is None else {BYTES_KEY: str(max_bytes)})}


def max_bytes(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the bytes that this process may take of each of its GPUs; None if it may take all of them."""
    text = environment.get(BYTES_KEY)
    return None if text is None else int(text)


def free_bytes() -> list[int]:
    """Return the free bytes of each visible GPU. This starts CUDA in the process that calls."""
    import torch

    return [torch.cuda.mem_get_info(index)[0] for index in range(count())]
