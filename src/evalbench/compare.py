"""`python -m evalbench.compare`, another spelling of `evalbench compare`; the function of that name is not here."""

from evalbench.comparison.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
