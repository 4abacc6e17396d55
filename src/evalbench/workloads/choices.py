"""The settings that every table has: which column is the target, what is left out, and how columns are encoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalbench.errors import ConfigError
from evalbench.tasks.classes import MIN_ROWS_PER_CLASS
from evalbench.tasks.metric import GENERATION, NEXT_TOKEN, TOKENS
from evalbench.workloads.prompts import names_of, read_template

Names = str | int | Sequence[str | int] | None
OPTIONS = {
    "kind": (
        "classification",
        "regression",
        "ordinal",
        "count",
        "multilabel",
        "ranking",
        TOKENS,
        GENERATION,
        NEXT_TOKEN,
    ),
    "missing_target": ("refuse", "drop"),
    "rare": ("refuse", "drop", "merge"),
    "high_cardinality": ("refuse", "drop", "hash", "target"),
    "text_as": ("words", "tokens"),
}
SEVERAL = ("multilabel", "regression")
"""The kinds that take several targets."""
LEAST = {"rare_rows": MIN_ROWS_PER_CLASS, "hash_features": 2, "text_features": 2, "text_length": 2, "length": 1}
LEAST |= {"min_count": 1, "answer_length": 2}


@dataclass(frozen=True)
class Choices:
    """Settings of a table; raises `ConfigError` for a value that has no meaning."""

    name: str | None = None
    """None: the name of the file."""
    target: Names = None
    """None: the last column. Several are labels, or numbers."""
    kind: str = "classification"
    order: Names = None
    """The classes of an ordinal target from the lowest to the highest; None: they are numbers."""
    drop: Names | Mapping[str, Names] = None
    """Columns that are left out; a map has those of several tables, by their names."""
    categories: Names = None
    """Columns of numbers that are codes of categories."""
    dates: Mapping[str, str] | None = None
    """The format of dates that are not those of ISO 8601, as `datetime.strptime` takes it, by column."""
    missing_target: str = "refuse"
    rare: str = "refuse"
    rare_rows: int = MIN_ROWS_PER_CLASS
    """A class with fewer rows is rare."""
    high_cardinality: str = "refuse"
    """How a column of too many categories is encoded."""
    hash_features: int = 64
    text: Names = None
    """Columns of natural language."""
    prompt: str | None = None
    """A Jinja template that makes one text of the cells of a row, which is then the only input."""
    prompt_file: str | None = None
    """A file with the template."""
    text_as: str = "words"
    text_features: int | None = None
    """Columns of counted words, 256 by default, or different tokens, 2048 by default."""
    text_length: int = 64
    """Tokens of a row."""
    answer_length: int = 32
    """Tokens of an answer, with the one that ends it."""
    packing: bool = True
    """Texts whose next tokens are foretold share windows; otherwise each has one of its own, and is cut."""
    tokenizer: str | None = None
    """The folder of a pretrained model, whose tokenizer makes the tokens; None: words are hashed."""
    tokens: str | int | None = None
    """The column with the lists of tokens whose tags are the target."""
    length: int | None = None
    """Words of a row, if these are lists; None: those of the longest."""
    min_count: int = 2
    """A token that training rows have less often is unknown."""
    group: str | int | None = None
    """The column with the group of each row, such as a person: no input."""
    time: str | int | None = None
    """The column with the time of each row."""
    weight: str | int | None = None
    """The column with the weight of each row: no input."""
    split_column: str | int | None = None
    """The column that says whether a row is for training, validation or the test: no input."""

    def __post_init__(self) -> None:
        for key, options in OPTIONS.items():
            given = getattr(self, key)
            if given not in options:
                raise ConfigError(f"dataset.{key}", f"must be {_either(options)}", given, "choose one of them")
        for key, least in LEAST.items():
            given = getattr(self, key)
            if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < least):
                rule = f"must be a whole number of at least {least}"
                raise ConfigError(f"dataset.{key}", rule, given, f"for example dataset.{key}=64")
        is_of_texts = self.tokenizer is not None and self.tokens is None and self.kind != NEXT_TOKEN
        if is_of_texts and (self.text_as != "tokens" or self.text_features is not None):
            rule, remedy = "needs tokens, as many as it knows", "say dataset.text_as=tokens, without text_features"
            raise ConfigError("dataset.tokenizer", rule, self.tokenizer, remedy)
        given = self.dates or {}
        if not isinstance(given, Mapping) or not all(isinstance(one, str) and "%" in one for one in given.values()):
            rule, remedy = "must have a format for each column", "for example 'dataset.dates={day: \"%d.%m.%Y\"}'"
            raise ConfigError("dataset.dates", rule, self.dates, remedy)
        _names("categories", self.categories)
        _names("text", self.text)
        self._check_target()
        self._check_tokens()
        self._check_answers()
        self._check_windows()
        if self.template is not None and self.tokens is not None:
            raise ConfigError(
                "dataset.prompt", "must be left out for lists of tokens", remedy="leave dataset.tokens out"
            )

    def _check_target(self) -> None:
        targets = self._targets
        if len(set(targets)) < len(targets) or (self.target is not None and not targets):
            raise ConfigError("dataset.target", "must name columns once each", self.target, "correct the list")
        if len(targets) > 1 and self.kind not in SEVERAL:
            rule = f"must be {_either(SEVERAL)} for several targets"
            raise ConfigError("dataset.kind", rule, self.kind, "say dataset.kind=multilabel for yes-or-no columns")
        if _names("order", self.order) and self.kind != "ordinal":
            raise ConfigError("dataset.order", "must be left out", self.order, "or say dataset.kind=ordinal")
        if self.kind == "ranking" and self.group is None:
            rule, remedy = "must name a column for ranking", "say dataset.group=query, whose rows are ranked together"
            raise ConfigError("dataset.group", rule, None, remedy)
        if self.kind == "ranking" and self.high_cardinality == "target":
            rule, remedy = "must not be target for ranking", "say dataset.high_cardinality=hash"
            raise ConfigError("dataset.high_cardinality", rule, "target", remedy)
        if self.kind == "ordinal" and self.rare == "merge":
            remedy = "say dataset.rare=drop"
            raise ConfigError("dataset.rare", "must not merge classes that have an order", self.rare, remedy)

    def _check_tokens(self) -> None:
        if self.tokens is None and self.kind == TOKENS:
            rule, remedy = "must name the column of the tokens", "for example dataset.tokens=words dataset.target=tags"
            raise ConfigError("dataset.tokens", rule, None, remedy)
        if self.tokens is not None and self.kind not in ("classification", TOKENS):
            rule, remedy = f"must be {TOKENS} if dataset.tokens is given", "leave one of them out"
            raise ConfigError("dataset.kind", rule, self.kind, remedy)

    def _check_answers(self) -> None:
        if self.kind != GENERATION:
            return
        if self.tokenizer is None:
            rule, remedy = "must make the tokens of prompts and answers", "say 'dataset.tokenizer=${model.path}'"
            raise ConfigError("dataset.tokenizer", rule, None, f"{remedy} dataset.text_as=tokens")
        if self.template is None and len(self.texts) != 1:
            rule, remedy = "must make one text of a row", "for example 'dataset.prompt=\"Question: {{ question }}\"'"
            raise ConfigError("dataset.prompt", f"{rule}, or dataset.text name one", None, remedy)

    def _check_windows(self) -> None:
        if self.kind != NEXT_TOKEN:
            return
        if len(self.texts) != 1 or self.tokens is not None or self.template is not None:
            rule, remedy = f"must name one column of texts for {NEXT_TOKEN}", "for example 'dataset.text=[text]'"
            raise ConfigError("dataset.text", rule, self.texts, remedy)
        if self.tokenizer is None:
            rule, remedy = f"must make the tokens for {NEXT_TOKEN}", "say 'dataset.tokenizer=${model.path}'"
            raise ConfigError("dataset.tokenizer", rule, None, remedy)
        if self.target is not None:
            rule = f"must be left out for {NEXT_TOKEN}, which foretells the text"
            raise ConfigError("dataset.target", rule, self.target, "leave it out")

    def dropped(self, label: str) -> list[str]:
        """Return the columns that are left out of the table of a name."""
        given = self.drop
        if isinstance(given, Mapping):
            if label not in given:
                rule, remedy = f"must have columns for the table {label} too", f"add {label}: []"
                raise ConfigError("dataset.drop", rule, dict(given), remedy)
            given = given[label]
        return _names("drop", given)

    def unread(self, label: str) -> list[str]:
        """Return the columns that are left out and say nothing about rows either."""
        return [name for name in self.dropped(label) if name not in self.about_rows]

    @property
    def codes(self) -> list[str]:
        """Return the columns of numbers that are codes."""
        return _names("categories", self.categories)

    @property
    def texts(self) -> list[str]:
        """Return the columns of natural language."""
        return _names("text", self.text) + [str(self.tokens)] * (self.tokens is not None)

    @property
    def template(self) -> str | None:
        """Return the template of the prompts; None if there are none; raise `ConfigError`."""
        return read_template(self.prompt, self.prompt_file)

    @property
    def long_texts(self) -> list[str]:
        """Return the columns whose cells may have any lines."""
        answers = self._targets if self.kind == GENERATION else []
        return [*self.texts, *answers, *([] if self.template is None else names_of(self.template))]

    @property
    def least_columns(self) -> int:
        """Return how many columns a table must have: inputs and a target, or texts that are both."""
        return 1 if self.kind == NEXT_TOKEN else 2

    @property
    def about_rows(self) -> list[str]:
        """Return the columns that say something about rows: group, time, weight and part of the split."""
        every = (self.group, self.time, self.weight, self.split_column)
        return [str(name) for name in every if name is not None]

    @property
    def named(self) -> list[str]:
        """Return the columns, beside targets and those that are left out, that the settings name."""
        return [*self.codes, *self.texts, *self.formats, *self.about_rows]

    @property
    def num_tokens(self) -> int:
        """Return the number of different tokens of a text."""
        return self.text_features or 2048

    @property
    def formats(self) -> dict[str, str]:
        """Return the formats of dates by column."""
        return {str(name): pattern for name, pattern in (self.dates or {}).items()}

    def targets(self, columns: Sequence[str]) -> list[str]:
        """Return the columns to predict, by default the last one; raise `ConfigError` if they are too few."""
        if self.kind == "multilabel" and len(self._targets) < 2:
            rule, remedy = "must be a list of two labels or more", "for example dataset.target=[rain,snow]"
            raise ConfigError("dataset.target", rule, self.target, remedy)
        targets = self._targets or [str(columns[-1])]
        if targets == [str(self.tokens)]:
            rule, remedy = "must be another column than dataset.tokens", "for example dataset.target=tags"
            raise ConfigError("dataset.target", rule, targets[0], remedy)
        return targets

    @property
    def _targets(self) -> list[str]:
        return _names("target", str(self.target) if isinstance(self.target, int) else self.target)

    @property
    def ordered(self) -> list[str]:
        """Return the classes from the lowest to the highest; empty if they are numbers."""
        return _names("order", self.order)

    @property
    def is_number(self) -> bool:
        """Return whether the target is a number."""
        return self.kind in ("regression", "count", "ranking")


def _either(options: Sequence[str]) -> str:
    return f"{', '.join(options[:-1])} or {options[-1]}"


def _names(key: str, given: Any) -> list[str]:
    if isinstance(given, str):
        return [given]
    if given is not None and not isinstance(given, Sequence):
        raise ConfigError(f"dataset.{key}", "must be a list of columns", given, f"for example dataset.{key}=[id,notes]")
    return [str(column) for column in given or ()]
