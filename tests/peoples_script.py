"""A training script as people write them: it reads rows, prints and writes scores. It does not know evalbench."""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--technique", default="plain")
    parser.add_argument("--workload", default="")
    parser.add_argument("--data")
    parser.add_argument("--folder")
    parser.add_argument("--bad", type=int, help="the seed that fails")
    parser.add_argument("--sleep", action="store_true")
    asked = parser.parse_args()
    print(json.dumps(vars(asked)))
    if asked.seed == asked.bad:
        sys.exit("my own reason")
    if asked.sleep:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        with Path(asked.folder, "pids").open("w") as file:
            file.write(f"{os.getpid()} {child.pid}")
        time.sleep(60)
    if asked.data:
        predict(asked.data, asked.seed)
        return
    score = random.Random(f"{asked.seed} {asked.technique} {asked.workload}").random()
    if asked.folder:
        with Path(asked.folder, "scores.csv").open("w") as file:
            file.write(f"epoch,accuracy\n1,0.1\n2,{score}\n")
    print(json.dumps({"accuracy": score, "num_train": 80, "num_test": 20}))
    print("done")


def predict(folder: str, seed: int) -> None:
    """Predict the shares of the classes of the training rows, with a little noise."""
    with Path(folder, "train.csv").open() as file:
        targets = [int(row["target"]) for row in csv.DictReader(file)]
    shares = [targets.count(label) / len(targets) for label in sorted(set(targets))]
    draws = random.Random(seed)
    for part in ("validation", "test"):
        if not Path(folder, f"{part}.csv").exists():  # settings are searched
            continue
        with Path(folder, f"{part}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert part == "validation" or "target" not in rows[0]
        with Path(folder, f"{part}_predictions.csv").open("w") as file:
            file.write(",".join(f"p{label}" for label in range(len(shares))) + "\n")
            for _ in rows:
                noisy = [share + draws.random() for share in shares]
                file.write(",".join(str(each / sum(noisy)) for each in noisy) + "\n")


if __name__ == "__main__":
    main()
