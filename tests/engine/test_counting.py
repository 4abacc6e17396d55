from torch import nn

from evalbench.engine.counting import count_parameters, flops_per_step
from evalbench.workloads import Kind

NETWORK = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def test_parameters_by_hand() -> None:
    assert count_parameters(NETWORK) == 64 * 32 + 32 + 32 * 10 + 10


def test_flops_by_hand() -> None:
    forward = 2 * 8 * (64 * 32 + 32 * 10)  # a multiplication and an addition per weight and example
    gradients_of_weights, gradient_of_hidden = forward, 2 * 8 * 32 * 10
    assert flops_per_step(NETWORK, Kind.MULTICLASS, 8, 64) == forward + gradients_of_weights + gradient_of_hidden


def test_a_network_is_counted_as_in_training_and_stays_in_its_mode() -> None:
    network = nn.Sequential(nn.Linear(64, 10), nn.BatchNorm1d(10)).eval()
    assert flops_per_step(network, Kind.MULTICLASS, 8, 64) == 2 * 2 * 8 * 64 * 10
    assert not network.training
