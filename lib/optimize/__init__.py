"""Changed systems: made by a technique, saved, loaded again by any process. See `variant`.

What to make of a system, if anything, is asked by `lib.studies.automatic.auto(system, target, margins)`: it listens and
times, which this room does not know how to.

>>> from lib import optimize, systems
>>> small = optimize.make(systems.load("vits-joe", target="torch/cpu"), "int8-dynamic", stages=("flow",))
>>> small.variant, small.made["technique"]
('int8-dynamic', 'int8-dynamic')
"""

from lib.optimize.variant import Technique, load, make, rebuild, save, techniques

__all__ = ["Technique", "load", "make", "rebuild", "save", "techniques"]
