from evalbench.seeds import Role, derive, derive_epoch


def test_seeds_are_the_same_on_every_machine_and_version() -> None:
    assert derive(0, "digits", Role.SPLIT, 0) == 7186093028927028223
    assert derive_epoch(1, 2) == 8705518154548660899


def test_every_part_of_the_key_counts() -> None:
    keys = [
        (root, workload, role, index)
        for root in (0, 1)
        for workload in ("digits", "iris")
        for role in Role
        for index in range(50)
    ]
    seeds = {derive(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
