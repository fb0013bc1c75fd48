"""How small, fast and frugal can a speech model get before a listener notices?

The notebooks call this package and hold no logic of their own. Data flows one way:
corpora -> systems -> optimize -> deploy -> measure -> results -> report. Importing a module does no
work: it opens no file, downloads nothing and sets no thread count.
"""

from pathlib import Path

__version__ = "0.1.0"

REPOSITORY = Path(__file__).resolve().parent.parent
