"""Publish a training run: `python -m lib.zoo publish RECIPE RUN [--name NAME] [--sentences 100]`."""

from __future__ import annotations

import argparse
import logging
import sys

from lib.errors import SpeechError
from lib.zoo import publish


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m lib.zoo", description=__doc__)
    parser.add_argument("action", choices=["publish"])
    parser.add_argument("recipe", help="the recipe file of the run")
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--name", default="", help="of the zoo folder, by default the recipe's task")
    parser.add_argument("--checkpoint", help="by default the newest")
    parser.add_argument("--sentences", type=int, default=100, help="held-out sentences to judge it on")
    parser.add_argument("--note", default="", help="for the card: how the training was run, such as its hardware")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        folder = publish.publish(options.recipe, options.run, name=options.name, checkpoint=options.checkpoint,
                                 sentences=options.sentences, threads=options.threads, note=options.note)
    except SpeechError as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
