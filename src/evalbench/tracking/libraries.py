"""Check that the library of a tracker is installed."""

from importlib.util import find_spec

from evalbench.errors import ConfigError


def require(library: str, extra: str) -> None:
    """Raise `ConfigError` with the install command if a library is missing, without importing the library."""
    if find_spec(library) is None:
        rule = f"needs the package {library}, which is not installed"
        raise ConfigError(f"tracker={extra}", rule, remedy=command(extra))


def command(extra: str) -> str:
    """Return the command that installs a tracker's library."""
    return f"pip install 'evalbench-dl[{extra}]'"
