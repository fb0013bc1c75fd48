"""What did a technique really change? Counted in what is saved, not in what was asked for.

One library quantized nothing, silently, for a whole release, and published tables of it. So each variant is compared
with its base layer by layer: whose stored bytes differ, of how many that have weights, and how many bytes there are.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from lib.optimize import selection, stored
from lib.systems.model import Model


def between(base: Model, variant: Model) -> dict[str, Any]:
    """{"layers": those whose weights are others or lie there otherwise, "of": all with weights, "kinds": how many
    of each type of the former, "bytes_before", "bytes_after": of all that is saved of networks and graphs,
    "stored": bytes of weights by the type they are stored in}.
    """
    names = selection.weighted(base)
    kinds = {name: type(layer).__name__ for name, layer in names.items()}
    before, after = (stored.layers(system, names) for system in (base, variant))
    changed = [
        kinds[name] for name, (_, digest) in before.items() if name and after.get(name, (0, ""))[1] != digest
    ]
    own, others = (stored.graph_operators(system) for system in (base, variant))
    known = {
        name.partition("/")[0] for name in others if name in own
    }  # stages that are still those of the base
    changed += [
        operator.type
        for name, operator in others.items()
        if (
            (own[name].stored, own[name].digest) != (operator.stored, operator.digest)
            if name in own
            # else a quantizer wrote what it left alone in another form
            else operator.stored != "float32" or name.partition("/")[0] not in known
        )
    ]
    sizes = [
        sum(n for n, _ in found.values()) + sum(map(len, system.graphs.values()))
        for found, system in ((before, base), (after, variant))
    ]
    return {
        "layers": len(changed),
        "of": len(set(before) - {""}) + len(others or own),
        "kinds": dict(Counter(changed).most_common()),
        "bytes_before": sizes[0],
        "bytes_after": sizes[1],
    }
