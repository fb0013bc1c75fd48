"""Rated watts per core of processors, for machines whose counters cannot be read."""

from __future__ import annotations

import re
import statistics

# Name as the kernel has it (a pattern) -> (rated watts, cores), from the makers' product pages: AMD "Default TDP" at
# https://www.amd.com/en/products/specifications.html, Intel "TDP" or "Processor Base Power" at
# https://www.intel.com/ark. Processors made for one cloud alone (EPYC 7B13, Xeon 8488C) and Apple's have no
# published figure: they take the default.
RATED = {
    r"EPYC 9654\b": (360, 96),
    r"EPYC 9554\b": (360, 64),
    r"EPYC 9754\b": (360, 128),
    r"EPYC 7763\b": (280, 64),
    r"EPYC 7742\b": (225, 64),
    r"Platinum 8480\+": (350, 56),
    r"Platinum 8380\b": (270, 40),
    r"Gold 6130\b": (125, 16),
    r"E5-2680 v4": (120, 14),
    r"Ryzen 9 7950X\b": (170, 16),
    r"Ryzen 7 5800X\b": (105, 8),
    r"Ryzen 7 7840U\b": (28, 8),
    r"i9-13900K\b": (125, 24),
    r"i7-12700H\b": (45, 14),
    r"i7-1165G7\b": (28, 4),
}
DEFAULT_WATTS_PER_CORE = round(statistics.median(watts / cores for watts, cores in RATED.values()), 2)


def watts_per_core(processor: str) -> tuple[float, str]:
    """Watts of one busy core, and in words where the figure comes from.

    >>> watts_per_core("AMD EPYC 9654 96-Core Processor")
    (3.75, 'AMD EPYC 9654 96-Core Processor, rated 360 W over 96 cores')
    """
    for pattern, (watts, cores) in RATED.items():
        if re.search(pattern, processor):
            return watts / cores, f"{processor}, rated {watts} W over {cores} cores"
    return (
        DEFAULT_WATTS_PER_CORE,
        f"{processor or 'this processor'} is not in the table: median of {len(RATED)} processors",
    )
