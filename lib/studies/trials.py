"""Which trainings answer the question, and what is each called? The main effects of method, rank, layers, minutes and
seed, not every combination of them.

A training is a `Trial`; its variant is named such as `lora-r8@prompts-3min`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from lib.optimize.lora import Adapter

SYSTEM = "fastspeech2"
RANK = 8  # the usual one of lora, dora and qlora
USUAL = ("attention", "feed-forward")  # groups of layers, see `lib.optimize.adapter_layers`
# The highest learning rates that a search begins with (`rates.chosen`), and the one of each method without a search.
TRIED = {
    "full": (3e-4, 1e-3, 3e-3),
    "lora": (2e-3, 5e-3, 1e-2),
    "dora": (2e-3, 5e-3, 1e-2),
    "qlora": (2e-3, 5e-3, 1e-2),
    "ia3": (1e-2, 3e-2, 1e-1),
    "speaker": (3e-2, 1e-1, 3e-1),
}
RATES = {"full": 1e-3, "lora": 5e-3, "dora": 5e-3, "qlora": 5e-3, "ia3": 3e-2, "speaker": 1e-1}


@dataclass(frozen=True)
class Trial:
    """One training."""

    method: str
    rank: int = RANK
    minutes: float = 0.0  # of speech; 0: all there is
    seed: int = 0  # of the adapter's first weights, and of the order of the data
    modules: tuple[str, ...] = USUAL
    voice: str = "prompts"  # of `lib.corpora.unheard`
    system: str = SYSTEM
    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 0.0  # 0: the method's usual one
    threads: int = 2

    @property
    def adapter(self) -> Adapter:
        from lib.optimize.lora import Adapter

        return Adapter(self.method, self.rank, 2.0 * self.rank, tuple(self.modules), 0.0, self.seed)

    @property
    def data(self) -> str:
        """What it learnt from, as variants name it: "prompts", "prompts-3min", and with another seed "prompts-s1"."""
        length = f"-{self.minutes:g}min" if self.minutes else ""
        return f"{self.voice}{length}" + (f"-s{self.seed}" if self.seed else "")

    @property
    def variant(self) -> str:
        """Its name: "lora-r8@prompts-3min"; other groups of layers than the usual ones are named.

        >>> Trial("lora", minutes=3.0).variant, Trial("full", modules=("attention",)).variant
        ('lora-r8@prompts-3min', 'full@prompts')
        """
        where = (
            "" if self.modules == USUAL or self.method in ("full", "speaker") else "+".join(("", *self.modules))
        )
        return f"{self.adapter.label}{where}@{self.data}"

    @property
    def learner(self) -> tuple[str, str]:
        """(system, what has a learning rate of its own there): the method; of lora each rank below the usual one, too,
        for the decision lies among those that learn little.

        >>> Trial("lora", 2).learner, Trial("lora", 32).learner
        (('fastspeech2', 'lora-r2'), ('fastspeech2', 'lora'))
        """
        apart = self.method == "lora" and self.rank < RANK
        return self.system, self.adapter.label if apart else self.method

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.learning_rate or RATES[self.method]


def main_effects(
    methods: Sequence[str],
    ranks: Sequence[int],
    minutes: Sequence[float],
    seeds: Sequence[int],
    layers: Sequence[Sequence[str]] = (),
    **fixed: Any,
) -> list[Trial]:
    """Each method at the usual rank on the most data, then every other rank of lora, and it beside other layers, then
    less data and other seeds for full and for what learns little (lora of the lowest rank, ia3, the speaker's row), of
    which one is to do as well. Full comes first, for all are compared with it.

    layers: lists of groups of layers; fixed: the other fields of every trial.
    """
    usual, lowest = RANK if RANK in ranks else ranks[0], min(ranks)
    most = 0.0 if 0.0 in minutes else max(minutes)
    ordered = sorted(methods, key=lambda method: method != "full")
    made = [Trial(method, usual, most, seeds[0], **fixed) for method in ordered]
    if "lora" in methods:
        made += [Trial("lora", rank, most, seeds[0], **fixed) for rank in ranks]
        made += [Trial("lora", usual, most, seeds[0], tuple(groups), **fixed) for groups in layers]
    compared = [
        (m, lowest if m == "lora" else usual) for m in ordered if m in ("full", "lora", "ia3", "speaker")
    ]
    made += [Trial(*one, length, seeds[0], **fixed) for length in minutes for one in compared]
    made += [Trial(*one, most, seed, **fixed) for seed in seeds for one in compared]
    return list({trial.variant: trial for trial in made}.values())


def planned(
    systems: Sequence[str],
    voices: Sequence[str],
    methods: Sequence[str],
    ranks: Sequence[int],
    minutes: Sequence[float],
    seeds: Sequence[int],
    layers: Sequence[Sequence[str]] = (),
    **fixed: Any,
) -> list[Trial]:
    """Of each system the main effects on the first voice, of the first system other layers, too; on the other voices
    each method and rank once, on the most data: whether the order of the methods is the same there.
    """
    most = 0.0 if 0.0 in minutes else max(minutes)
    return [
        trial
        for place, system in enumerate(systems)
        for number, voice in enumerate(voices)
        for trial in main_effects(
            methods,
            ranks,
            minutes if number == 0 else [most],
            seeds if number == 0 else seeds[:1],
            layers if number == place == 0 else (),
            voice=voice,
            system=system,
            **fixed,
        )
    ]


def left_out(trials: Sequence[Trial]) -> str | None:
    """How many trainings there are, and of what nobody asks; None of a single one."""
    if len(trials) < 2:
        return None
    _, *others = dict.fromkeys(trial.voice for trial in trials)
    first, *further = dict.fromkeys(trial.system for trial in trials)
    seeded, shortened = (
        list(dict.fromkeys(t.adapter.label for t in trials if other(t)))
        for other in (lambda t: t.seed != trials[0].seed, lambda t: t.minutes != trials[0].minutes)
    )
    said = [
        f"{len(trials)} trainings of {trials[0].steps:,} steps: what changes is the method, or the rank, the layers, "
        "the minutes or the seed, one at a time. Their combinations were left out"
    ]
    if others:
        said.append(f"on {', '.join(others)} all but method and rank")
    if further and any(trial.modules != USUAL for trial in trials):
        said.append(f"other layers of all but {first}")
    if seeded:
        said.append(f"other seeds of all but {_listed(seeded)}: of full fine-tuning, and of what learns little")
    if shortened:
        said.append(f"less data of all but {_listed(shortened)}")
    return "; ".join(said) + "."


def shares(system: str, methods: Sequence[str], ranks: Sequence[int]) -> pd.DataFrame:
    """What of the system would learn by each method and rank, counted without training: a line each."""
    import pandas as pd

    from lib.optimize import lora, new_voice
    from lib.training import sources, tasks

    found = {}
    for method in methods:
        for rank in ranks if method in lora.RANKED else ranks[:1]:
            trial = Trial(method, rank, system=system)
            _, _, network = tasks.find(system).system.checkpoints.load(sources.start(system))
            share = lora.trainable(lora.adapt(network, trial.adapter, new_voice.grow(network)))
            found[trial.adapter.label] = {
                "parameters that learn": f"{share['trainable_params']:,.0f}",
                "of the base's, %": f"{share['trainable_params_pct']:.3g}",
                "adapter, kB": f"{share['adapter_bytes'] / 1e3:,.0f}",
            }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("method")


def _listed(names: Sequence[str]) -> str:
    """
    >>> _listed(["full", "ia3", "speaker"])
    'full, ia3 and speaker'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
