"""What a tracker needs beside evalbench itself."""

from importlib.util import find_spec

from evalbench.errors import ConfigError


def require(library: str, extra: str) -> None:
    """Raise `ConfigError` with the command that installs a library, unless it is there; imports nothing."""
    if find_spec(library) is None:
        rule = f"needs the package {library}, which is not installed"
        raise ConfigError(f"tracker={extra}", rule, remedy=f"pip install 'evalbench-dl[{extra}]'")
