"""Which voices can be learnt that no acoustic model of the zoo has heard? A person, and a synthetic one.

    prompts     the recordings of a person, 24 minutes with the test clips
    flite-slt   a statistical voice, built from the recordings of another woman, reading the novel

The zoo's acoustic models learnt `vits-joe` and `hibari` together, so neither is held out of them; `flite-slt` is, and
the zoo's vocoder, which learnt from it and from the recordings, can speak both. So what an adapted voice lacks beside
the vocoder's copy of the person is the acoustic model's fault alone.
"""

from __future__ import annotations

from lib.corpora import flite, gutenberg, prompts
from lib.corpora.base import Corpus
from lib.errors import unknown

PERSON = "prompts"
NAMES = (PERSON, "flite-slt")
READ = 160  # sentences of the novel that the synthetic voice reads for training: some 12 minutes
TEST = 40


def load(name: str) -> Corpus:
    """The corpus of one of `NAMES`. MissingDataError where its packages cannot be had."""
    if name not in NAMES:
        raise unknown("voice to learn", name, NAMES)
    if name == "prompts":
        return prompts.load()
    sentences = (
        *gutenberg.split("train", READ),
        *gutenberg.split("validation"),
        *gutenberg.split("test", TEST),
    )
    return flite.corpus(name.removeprefix(flite.PREFIX), sentences)
