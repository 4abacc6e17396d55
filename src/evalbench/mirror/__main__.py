"""Run a tracker's process, which the sweep starts; see `process.py`."""

from evalbench.mirror.process import main

if __name__ == "__main__":
    main()
