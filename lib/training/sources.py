"""What does a recipe's `data` part stand for? A corpus: speech made by the embedded voices, or a public corpus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lib import zoo
from lib.corpora import own, portion
from lib.corpora import sentences as texts
from lib.corpora.base import SPLITS, Corpus
from lib.errors import ParameterError

OWN = "own"  # the `corpus` that is a folder of one's own recordings, see `lib.corpora.own`
RESUME = "resume.safetensors"  # beside a finished network, where its task writes it: what training goes on from


@dataclass(frozen=True)
class Data:
    """The recipe's `data` part: voices that read sentences, or a public corpus."""

    voices: tuple[str, ...] = ()  # systems that read
    texts: tuple[str, ...] = ("botchan",)  # what they read: of `lib.corpora.sentences.TEXTS`
    corpus: str = (
        ""  # a public one, as `corpora.public.load` takes it; "own": the recordings in the folder `source`
    )
    source: str = ""  # its folder or hub repository ("": the corpus's own repository)
    train: int = 0  # utterances of the train split that are used, of each voice (0: all)
    validation: int = 0  # the same of the validation split
    threads: int = 1  # of the voices while they speak

    def __post_init__(self) -> None:
        if bool(self.voices) == bool(self.corpus):
            raise ParameterError(
                "the recipe's data names either `voices` or a `corpus`, not both and not neither"
            )
        if texts.check(self.texts) != ("botchan",) and self.corpus:
            raise ParameterError(
                "the recipe's data names `texts`, but they are what `voices` read: leave them out"
            )
        if self.corpus == OWN and not self.source:
            raise ParameterError(
                "the recipe's data names the corpus `own` and no `source`: name the folder with metadata.csv and wavs/"
            )


def start(name: str) -> Path:
    """The folder of the checkpoint that a recipe's `start_from` names: one of `lib.zoo`, or a folder."""
    return Path(name) if Path(name).is_dir() else zoo.folder(name)


def corpus(data: Data) -> Corpus:
    """The corpus, with its train and validation splits; synthetic speech is made now where the cache does not hold it.

    No test sentence ever enters, of whatever set.
    """
    if data.corpus:
        from lib.corpora import public

        whole = _own(data.source) if data.corpus == OWN else public.load(data.corpus, data.source or None)
        limits = {"train": data.train, "validation": data.validation, "test": 0}
        chosen = tuple(
            u for split in SPLITS if split != "test" for u in whole.split(split)[: limits[split] or None]
        )
        return replace(whole, utterances=chosen)
    from lib import systems
    from lib.corpora import synthetic

    sentences = texts.validation(data.validation or None) + texts.training(data.texts, data.train or None)
    made = []
    for name in data.voices:
        target = (
            "onnxruntime/cpu" if "onnxruntime/cpu" in systems.targets(name) else None
        )  # the fastest way to speak
        # One thread per voice object: what a voice says depends, in the last bits, on how many threads add it up.
        made.append(
            synthetic.corpus(systems.load(name, target=target, threads=1), sentences, workers=data.threads)
        )
    return Corpus(
        "+".join(c.name for c in made),
        "; ".join(c.source for c in made),
        "; ".join(sorted({c.licence for c in made})),
        tuple(u for c in made for u in c.utterances),
        {k: v for c in made for k, v in c.skipped.items()},
    )


def _own(folder: str) -> Corpus:
    """Recordings of one's own, without those that say nearly what is held out."""
    whole = own.load(folder)
    free, watched = portion.apart(whole)
    return replace(whole, utterances=(*free, *watched))
