"""The examples in docstrings say what the code does."""

import doctest
import importlib

import pytest

from lib import REPOSITORY

EXAMPLES = sorted(path for path in (REPOSITORY / "lib").rglob("*.py") if "\n    >>> " in path.read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path):
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    found = doctest.testmod(
        importlib.import_module(".".join(parts).removesuffix(".__init__")), optionflags=doctest.ELLIPSIS
    )
    assert found.attempted and not found.failed
