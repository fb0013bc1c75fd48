"""How does a package hand out its parts without loading them all? By name, when they are asked for.

Who runs a system on ONNX Runtime or CTranslate2 does not wait for torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def parts(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """A package's `__getattr__` and `__all__`. package: its `__name__`; places: name of a part -> its module."""

    def part(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{places[name]}"), name)

    return part, sorted(places)
