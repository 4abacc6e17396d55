"""One step for C members equals C steps of single members, for every optimizer class, fused or not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from conftest import compose_config
from evalbench.config import Component
from evalbench.engine import kernels
from evalbench.engine.gradients import clip_per_member
from evalbench.engine.instances import scheduled
from evalbench.engine.optimizers import ELEMENTWISE, CohortOptimizer, build
from evalbench.errors import ConfigError

C = 3
SHAPES = {"weight": (4, 5), "bias": (4,)}
SETTINGS = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adam": {"lr": 0.1, "amsgrad": True, "weight_decay": 0.01},
    "RMSprop": {"lr": 0.1, "momentum": 0.5, "centered": True},
}


def gradients(parameters: dict[str, nn.Parameter], step: int) -> dict[str, Tensor]:
    """Return gradients that depend on the parameters and differ between members."""
    return {name: torch.sin(3 * value.detach() + step) + 0.1 * value.detach() for name, value in parameters.items()}


@pytest.mark.parametrize(
    "name",
    [*sorted(optimizer_class.__name__ for optimizer_class in ELEMENTWISE), "Adafactor", "ASGD"],
    ids=lambda name: name,
)
def test_c_members_move_like_c_single_parameters(name: str) -> None:
    component = Component("optimizer", f"torch.optim.{name}", SETTINGS.get(name, {"lr": 0.1}))
    generator = torch.Generator().manual_seed(0)
    start = {key: torch.randn(C, *shape, generator=generator) for key, shape in SHAPES.items()}
    stacked = {key: nn.Parameter(value.clone()) for key, value in start.items()}
    cohort = CohortOptimizer(component, stacked)
    assert len(cohort.optimizers) == (1 if getattr(optim, name) in ELEMENTWISE else C)
    for step in range(50):
        cohort.step(gradients(stacked, step))

    for member_index in range(C):
        single = {key: nn.Parameter(value[member_index].clone()) for key, value in start.items()}
        optimizer = component.build(list(single.values()))
        for step in range(50):
            for key, gradient in gradients(single, step).items():
                single[key].grad = gradient
            optimizer.step()
        for key in SHAPES:
            assert torch.allclose(stacked[key][member_index], single[key], rtol=1e-5, atol=1e-6)


MEMBERS: dict[str, tuple[str, list[dict[str, Any]], int]] = {
    "SGD, lr": ("SGD", [{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.3}], C),
    "AdamW, lr": ("AdamW", [{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.3}], C),
    "NAdam, lr": ("NAdam", [{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.3}], 1),
    "SGD, momentum": ("SGD", [{"momentum": 0.1}, {"momentum": 0.9}, {"lr": 0.02}], C),
    "Adam, all": ("Adam", [{"betas": (0.5, 0.9)}, {"eps": 0.1, "lr": 0.02}, {"weight_decay": 0.5}], C),
    "Adafactor, lr": ("Adafactor", [{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.3}], C),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_members_may_differ_in_any_hyperparameter(case: str) -> None:
    name, members, instances = MEMBERS[case]
    component = Component("optimizer", f"torch.optim.{name}", {"lr": 0.1})
    generator = torch.Generator().manual_seed(0)
    start = {key: torch.randn(C, *shape, generator=generator) for key, shape in SHAPES.items()}
    stacked = {key: nn.Parameter(value.clone()) for key, value in start.items()}
    cohort = CohortOptimizer(component, stacked, members)
    assert len(cohort.optimizers) == instances
    for step in range(20):
        cohort.step(gradients(stacked, step))
    kept = {key: nn.Parameter(value.data[[0, 2]]) for key, value in stacked.items()}
    cohort.keep([0, 2], kept)  # the middle member ends; the optimizer state of the others stays
    for step in range(20, 40):
        cohort.step(gradients(kept, step))

    for slot, member_index in enumerate((0, 2)):
        single = {key: nn.Parameter(value[member_index].clone()) for key, value in start.items()}
        settings = {"lr": 0.1, **members[member_index]}
        optimizer = Component("optimizer", f"torch.optim.{name}", settings).build(list(single.values()))
        for step in range(40):
            for key, gradient in gradients(single, step).items():
                single[key].grad = gradient
            optimizer.step()
        for key in SHAPES:
            assert torch.allclose(kept[key][slot], single[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Adam", {"weight_decay": 0.1}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {"maximize": True}),
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
    ],
)
def test_a_kernel_called_directly_gives_the_bits_of_the_instances_own_step(name: str, settings: dict[str, Any]) -> None:
    optimizer_class = getattr(optim, name)
    make = kernels.update_maker(optimizer_class)
    assert make is not None
    generator = torch.Generator().manual_seed(0)
    stepped = {key: nn.Parameter(torch.randn(*shape, generator=generator)) for key, shape in SHAPES.items()}
    direct = {key: nn.Parameter(value.detach().clone()) for key, value in stepped.items()}
    optimizers = [optimizer_class(list(side.values()), lr=0.1, fused=True, **settings) for side in (stepped, direct)]
    update = None
    for step in range(10):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)  # scheduled
        for side in (stepped, direct):
            for key, gradient in gradients(side, step).items():
                side[key].grad = gradient
        optimizers[0].step()
        if update is None:
            optimizers[1].step()
            update = make(optimizers[1])
        else:
            with torch.no_grad():
                update(list(gradients(direct, step).values()))
    assert all(torch.equal(stepped[key], direct[key]) for key in SHAPES)
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    assert all(torch.equal(states[0][n][k], states[1][n][k]) for n in states[0] for k in states[0][n])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_clipping_is_per_member(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    raw = {key: torch.randn(C, *shape, generator=generator, dtype=dtype) for key, shape in SHAPES.items()}
    raw = {key: value * torch.tensor([0.01, 1.0, 100.0]).view(C, *[1] * (value.ndim - 1)) for key, value in raw.items()}
    clipped = clip_per_member(raw, 1.0)
    for member_index in range(C):
        single = [nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in SHAPES.values()]
        for parameter, gradient in zip(single, raw.values(), strict=True):
            parameter.grad = gradient[member_index].clone()
        nn.utils.clip_grad_norm_(single, 1.0)
        for parameter, gradient in zip(single, clipped.values(), strict=True):
            assert parameter.grad is not None
            rtol = 1e-14 if dtype is torch.float64 else 1e-5
            torch.testing.assert_close(gradient[member_index], parameter.grad, rtol=rtol, atol=0)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("optimizer._target_=torch.optim.SparseAdam", "does not support dense gradients"),
        ("optimizer._target_=torch.optim.lr_scheduler", "or a function that returns one"),
        ("optimizer._target_=torch.nn.Linear", r"must be a torch.optim.Optimizer"),
        ("optimizer.lr=-1", "Invalid learning rate"),
        ("+optimizer.lrr=1", "unexpected keyword argument 'lrr'"),
    ],
)
def test_an_optimizer_that_cannot_be_used_is_refused_with_the_reason(override: str, reason: str) -> None:
    component = compose_config(override).optimizer.component
    with pytest.raises(ConfigError, match=reason):
        CohortOptimizer(component, {"weight": nn.Parameter(torch.zeros(2, 3))})


def test_settings_of_a_members_own_may_hold_targets() -> None:
    """A search gives all settings of the optimizer, including nested ones."""
    settings = {"lr": 0.1, "base_optimizer": {"_target_": "torch.optim.SGD", "_partial_": True}}
    stacked = {key: nn.Parameter(torch.ones(C, *shape)) for key, shape in SHAPES.items()}
    members = [{**settings, "lr": lr} for lr in (0.1, 0.2, 0.3)]
    cohort = CohortOptimizer(Component("optimizer", "peoples_optimizers.Sam", settings), stacked, members)
    assert [optimizer.param_groups[0]["lr"] for optimizer in cohort.optimizers] == [0.1, 0.2, 0.3]
    assert cohort.calls == (True, True, False)


def test_others_follow_the_schedule_of_their_own_member() -> None:
    """A fixed top rate is a different multiple of each member's own rate."""
    config = compose_config("optimizer=muon").optimizer
    parameters = {"matrix": nn.Parameter(torch.ones(2, 4, 3)), "bias": nn.Parameter(torch.ones(2, 4))}
    schedule = Component("schedule", "torch.optim.lr_scheduler.OneCycleLR", {"max_lr": 0.1, "total_steps": 4})
    members = [{"lr": 0.1}, {"lr": 0.01}]
    tables = scheduled(schedule, config.component, parameters, members, 4)
    optimizer = build(config, parameters, members, tables=tables)
    optimizer.schedule(1)
    first, second = (instance.param_groups[0]["lr"] for instance in optimizer.optimizers[-2:])
    assert second == pytest.approx(10 * first)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_a_fused_kernel_is_chosen_where_torch_has_one(name: str) -> None:
    component = Component("optimizer", f"torch.optim.{name}", {"lr": 0.1})
    cases = {"float32": True, "bfloat16": True, "complex64": False}
    for dtype, has_one in cases.items():
        parameters = {"weight": torch.zeros(2, 3, dtype=getattr(torch, dtype))}
        assert kernels.flags(getattr(optim, name), component, parameters, fused=True) == (
            {"fused": True} if has_one else {}
        )
    parameters = {"weight": torch.zeros(2, 3, device="meta")}
    assert kernels.flags(getattr(optim, name), component, parameters, fused=True) == {}
