"""A tracker's process, started by the sweep; see `process.py`."""

from evalbench.mirror.process import main

if __name__ == "__main__":
    main()
