"""Changed systems: made by a technique, saved, loaded again by any process. See `variant`.

>>> from lib import optimize, systems
>>> small = optimize.make(systems.load("vits-joe", target="torch/cpu"), "int8-dynamic", stages=("flow",))
>>> small.variant, small.made["technique"]
('int8-dynamic', 'int8-dynamic')
"""

from lib.optimize.variant import Technique, load, make, rebuild, save, techniques

__all__ = ["Technique", "load", "make", "rebuild", "save", "techniques"]
