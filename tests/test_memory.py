import subprocess
import sys

PROGRAM = """
import torch
from pathlib import Path
from evalbench import memory

def kept_megabytes():
    torch.ones(25_000_000)  # 100 MB, freed at once
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 1_000_000

before = kept_megabytes()
asked = memory.keep_freed()
print(asked, kept_megabytes() - before)
"""


def test_the_memory_of_large_tensors_is_kept_for_the_next() -> None:
    answer = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout.split()
    assert answer[0] == "False" or int(answer[1]) >= 95
