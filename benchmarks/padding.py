"""What cutting each step to its longest text would save: `python -m benchmarks.padding mails.csv --tokenizer DIR`.

The first column of the table has the texts. A step has the rows of all trials of a cohort, which share a shape. It
would be cut to the longest of its texts, up to a multiple of `UNIT` tokens, because each shape costs a trace.
"""

import argparse

import numpy as np
import pandas as pd
from transformers import AutoTokenizer

UNIT, STEPS = 32, 1000


def main() -> None:
    """Print, by the length of a row, the share of padding and the shares that cut steps would save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 4])
    arguments = parser.parse_args()
    texts = pd.read_csv(arguments.table).iloc[:, 0].astype(str).tolist()
    whole = AutoTokenizer.from_pretrained(arguments.tokenizer, model_max_length=10**9)(texts)["input_ids"]
    draw = np.random.default_rng(0)
    for length in arguments.lengths:
        tokens = np.minimum([len(row) for row in whole], length)
        line = f"{length} tokens: {1 - tokens.mean() / length:.1%} of them are padding; saved"
        for members in arguments.members:
            steps = [draw.choice(tokens, members * arguments.batch).max() for _ in range(STEPS)]
            cut = np.minimum(-(-np.array(steps) // UNIT) * UNIT, length)
            line += f" {1 - cut.mean() / length:.1%} with {members} of {arguments.batch} rows,"
        print(line.rstrip(","))


if __name__ == "__main__":
    main()
