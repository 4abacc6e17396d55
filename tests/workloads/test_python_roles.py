"""Roles of tokens in Python's own library."""

import pytest

from evalbench.errors import ConfigError
from evalbench.tasks import Kind
from evalbench.workloads import python_roles

SOURCE = '''
def run(job, *, depth: int = 1):
    """Too short."""
    total = self.jobs.pop(job, key=depth.x)  # a comment
    return
    é = first("é") + 1
class Job(Base): pass
'''


def test_names_have_the_roles_that_they_have_in_the_syntax_tree() -> None:
    rows = [" ".join(f"{text}/{role}" for text, role in row) for row in python_roles.statements(SOURCE)]
    assert rows == [
        "def/keyword run/definition (/sign job/parameter ,/sign */sign ,/sign depth/parameter :/sign int/variable"
        " =/sign 1/number )/sign :/sign",
        "total/assigned variable =/sign self/variable ./sign jobs/attribute ./sign pop/called method (/sign"
        " job/variable ,/sign key/keyword argument =/sign depth/variable ./sign x/attribute )/sign",
        "class/keyword Job/definition (/sign Base/variable )/sign :/sign pass/keyword",
    ]


@pytest.mark.slow
def test_the_library_is_a_data_set_of_tagged_statements() -> None:
    dataset = python_roles.load("roles", 200)
    assert (dataset.kind.name, len(dataset.inputs), dataset.min_count) == (Kind.TOKEN_CLASSIFICATION.name, 200, 2)
    assert {"called method", "keyword argument", "parameter"} < set(dataset.classes)
    assert dataset.description.startswith("roles of tokens in statements of Python 3.")
    with pytest.raises(ConfigError, match=r"dataset\.num_rows must be a whole number from 10 to [0-9,]+, not 9"):
        python_roles.load("roles", 9)
