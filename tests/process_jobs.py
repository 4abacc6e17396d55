"""Tiny jobs for the tests of processes: importable in a worker, and light."""

import ctypes
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from threadpoolctl import threadpool_info

from evalbench import gpus, ranks

SIGNS = (
    *("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS"),
    *(gpus.VISIBLE_KEY, gpus.BYTES_KEY),
)


def free_bytes() -> list[int]:
    """Stand in for two GPUs."""
    return [1000, 4000]


def die() -> list[int]:
    """Stand in for a driver that cannot be asked."""
    os._exit(1)


def kill_the_server() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def act(tree: DictConfig) -> None:
    """Write a note about the process, then do the deed of the configuration."""
    rank = ranks.current()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    logging.getLogger(__name__).info("hello from rank %d", rank.index)
    note = {
        "pid": os.getpid(),
        "others": rank.gather(rank.agree(["from zero"])),
        "job": [hydra.job.num, hydra.job.name, list(hydra.overrides.task)],
        "torch": "torch" in sys.modules,
        "threads": sorted({pool["num_threads"] for pool in threadpool_info()}),
        **{sign: os.environ.get(sign) for sign in SIGNS},
    }
    (folder / f"note{rank.index}.json").write_text(json.dumps(note))
    deeds: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "raise": lambda: int("eleven"),
        "leave": lambda: sys.exit(2),
        "exit": lambda: os._exit(3),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "crash": lambda: ctypes.string_at(0),
        "kill the server": kill_the_server,
        "stay": lambda: time.sleep(600),
        "listen": lambda: rank.gather(None),
    }
    deed = tree.deeds[min(rank.index, len(tree.deeds) - 1)]
    deeds[deed]()
