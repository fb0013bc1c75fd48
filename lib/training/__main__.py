"""Train from a shell: `python -m lib.training RECIPE.yaml --out FOLDER`, alone or under `accelerate launch` or
`torchrun`.
"""

from __future__ import annotations

import argparse
import logging
import sys

from lib.errors import SpeechError
from lib.training import loop, recipe, stopping, tasks


def main(arguments: list[str] | None = None) -> int:
    """Run one recipe; 0 when it ended with a checkpoint, 1 with one line on stderr when it could not, 130 for Ctrl-C
    outside of its steps.
    """
    parser = argparse.ArgumentParser(prog="python -m lib.training", description=__doc__)
    parser.add_argument("recipe", help="a recipe file, such as params/study/recipes/hifigan.yaml")
    parser.add_argument(
        "--out", required=True, help="the run's folder; an interrupted run goes on from its last checkpoint"
    )
    parser.add_argument("--threads", type=int, help="CPU threads of torch in this process")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    try:
        with stopping.ctrl_c_asks():
            chosen = recipe.load(options.recipe)
            outcome = loop.train(tasks.build(chosen), chosen, options.out)
    except SpeechError as error:
        print(f"training failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    print(
        f"stopped by {outcome.reason} at step {outcome.step} after {outcome.seconds:.0f} s of training: "
        f"{outcome.checkpoint}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
