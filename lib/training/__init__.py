"""Training: one loop for every system, one recipe file per run.

>>> from lib.training import loop, recipe, tasks
>>> chosen = recipe.find("quick", "hifigan")
>>> outcome = loop.train(tasks.build(chosen), chosen, "outputs/quick/checkpoints/hifigan")

A new trainable system is a `task.Task` in a file of `tasks/` and one line in `tasks/__init__.py`.
"""
