"""Every error that evalbench raises on purpose.

    EvalbenchError
    ├── InputError        what the user gave cannot be used: exit code 2
    │   ├── ConfigError       a value in the configuration
    │   ├── DataError         a data set, or a file of results
    │   └── TableError        a table of results or a report folder
    ├── StorageError      results cannot be written or read now: exit code 1, and the same command goes on later
    ├── LeaseLostError    another process took this cell over
    └── JobLostError      the process of a job died

An `InputError` says, in one line, the rule, the value and the remedy.
"""


class EvalbenchError(Exception):
    """Whatever evalbench raises on purpose."""


class InputError(EvalbenchError):
    """What the user gave cannot be used; the message is one line for them."""


class ConfigError(InputError):
    """A value in the configuration breaks a rule; `value` is left out where there is none."""

    def __init__(self, key: str, rule: str, value: object = None, remedy: str = "") -> None:
        wrong = "" if value is None else f", not {value!r}"
        super().__init__(f"{key} {rule}{wrong}: {remedy}")
        self.key = key


class DataError(InputError):
    """A data set cannot be used as it is."""


class TableError(InputError):
    """A table of results, or the folder of a report, cannot be used as it is."""


class StorageError(EvalbenchError):
    """What keeps results cannot be written or read now: a full disk, a server that does not answer."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}: nothing is lost, the same command goes on from there once that is mended")
        self._arguments = (where, reason)

    def __reduce__(self) -> tuple[type["StorageError"], tuple[str, str]]:
        """Let another process send it."""
        return type(self), self._arguments


class LeaseLostError(EvalbenchError):
    """The lease on a cell ran out and another process took the cell over."""


class JobLostError(EvalbenchError):
    """The process that ran a job died, or could not say what went wrong."""
