"""Run a command in a process group of its own, and end the whole group with it: a program that imports no evalbench.

    python -I -S process_group.py SECONDS WORD...

The group ends when the command ends, when its seconds have passed (0: no limit), and when standard input closes: then
whoever started this program has gone, in whatever way. Exit code: that of the command.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

POLL_SECONDS = 0.02
GRACE_SECONDS = 2.0
"""The time that a group has to end before it is killed."""
TOO_LONG, GONE, NOT_RUN = 124, 130, 127
"""Exit codes as `timeout` and shells have them."""


def main(limit: float, words: list[str]) -> int:
    """Run the words, and return the exit code."""
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{words[0]} cannot be run: {error}", flush=True)
        return NOT_RUN
    end = time.monotonic() + limit
    try:
        while process.poll() is None:
            if select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
                return GONE
            if limit and time.monotonic() > end:
                print(f"the time limit of {limit:g} s has passed", flush=True)
                return TOO_LONG
        return process.returncode if process.returncode >= 0 else 128 - process.returncode
    finally:
        end_group(process)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Ask the processes of a group to end, then kill those that are left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        last = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < last:
            process.poll()
            os.killpg(process.pid, 0)  # raises if nobody is left
            time.sleep(POLL_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # the closed input says when to end
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
