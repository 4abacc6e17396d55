"""The GPUs that jobs may use: a user's CUDA_VISIBLE_DEVICES is respected, and too many processes are refused."""

import os
import subprocess
import sys

import pytest

from conftest import compose_config
from evalbench import gpus
from evalbench.engine import training
from evalbench.errors import ConfigError


@pytest.mark.parametrize(
    ("named", "count", "expected"),
    [
        (None, 0, ()),
        (None, 3, ("0", "1", "2")),
        ("2,0", 2, ("2", "0")),
        (" 2, 0 ", 2, ("2", "0")),
        ("GPU-5a,GPU-77", 2, ("GPU-5a", "GPU-77")),
        ("MIG-5a", 1, ("MIG-5a",)),
        ("", 0, ()),
        ("-1", 0, ()),
        ("1,-1,0", 1, ("1",)),  # the driver stops at the first wrong name, and so does torch's number
    ],
)
def test_gpus_are_named_as_the_user_names_them(named: str | None, count: int, expected: tuple[str, ...]) -> None:
    environment = {} if named is None else {gpus.VISIBLE_KEY: named}
    assert gpus.visible({"auto"}, environment, lambda: count) == expected
    assert gpus.visible({"cpu", "cuda"}, environment, lambda: count) == expected
    assert gpus.visible({"cpu", "mps"}, environment, lambda: 1 // 0) == ()


def test_more_processes_than_gpus_are_refused() -> None:
    for devices, accelerator, count in ((2, "auto", 2), (4, "cpu", 1), (4, "auto", 0), (1, "gpu", 1)):
        gpus.check(devices, accelerator, lambda count=count: count)  # type: ignore[misc]
    with pytest.raises(ConfigError, match=r"^trainer.devices must be at most 2, .* GPUs, not 3: use"):
        gpus.check(3, "auto", lambda: 2)


def test_a_job_is_told_its_gpus_and_its_bytes() -> None:
    assert gpus.environment((), 5) == {}
    assert gpus.environment(("1", "GPU-7"), None) == {gpus.VISIBLE_KEY: "1,GPU-7"}
    told = gpus.environment(("1",), 2**34)
    assert gpus.max_bytes(told) == 2**34
    assert gpus.max_bytes({}) is None


@pytest.mark.parametrize("accelerator", ["auto", "cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_device_is_the_one_that_lightning_trains_on(accelerator: str) -> None:
    if accelerator == "cuda" and not gpus.count():
        pytest.skip("there is no CUDA device")
    config = compose_config("dataset=wine", f"trainer.accelerator={accelerator}")
    with training.quiet_lightning():
        trainer = training.make_trainer(config, 1, training.devices_of(config))
    assert training.device_of(config) == trainer.strategy.root_device


@pytest.mark.gpu
@pytest.mark.skipif(not gpus.count(), reason="there is no CUDA device")
def test_the_modules_of_the_fork_server_leave_cuda_alone() -> None:
    script = (
        "import importlib, pathlib, torch; from evalbench import gpus; from evalbench.processes import workers\n"
        "for name in workers.HEAVY: importlib.import_module(name)\n"
        "assert not torch.cuda.is_initialized()\n"
        "print('/dev/nvidia' in ' '.join(str(link.resolve()) for link in pathlib.Path('/proc/self/fd').iterdir()))"
    )
    environment = {**os.environ, gpus.VISIBLE_KEY: "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False"]
