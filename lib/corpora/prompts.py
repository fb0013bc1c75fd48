"""`prompts`: real recorded speech, 24 minutes of one professional speaker at 16 kHz, out of two Debian packages.

Allison Smith's telephone prompts (asterisk-core-sounds, CC-BY-SA-3.0), with the texts their makers publish.
Where there is no apt, the corpus is missing and the experiments that need it say so.

Splits are by text alone. When a prompt was recorded nobody tells: the files bear the two minutes in which all were
converted, their names the application that plays them. So held-out prompts lie between those learnt from (the
recogniser's study holds whole applications apart, `lib.corpora.recognition`), and what learnt from one split, as the
zoo's vocoder did, would have heard the test clips of another.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import re
from pathlib import Path

import numpy as np

from lib.corpora import fetch
from lib.corpora.base import Corpus, Utterance
from lib.errors import AudioError, MissingDataError
from lib.normalise import spoken

SOURCE = (
    "Debian packages asterisk-core-sounds-en and asterisk-core-sounds-en-g722, 1.6.1; speaker Allison Smith"
)
LICENCE = "CC-BY-SA-3.0"
SAMPLE_RATE = 16_000
TEST, VALIDATION = 80, 40

_TEXTS = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
_SOUNDS = "usr/share/asterisk/sounds/en_US_f_Allison"


def load() -> Corpus:
    """All prompts that have a text, in an order drawn by the text's hash; equal texts share a split."""
    texts = parse(
        gzip.decompress((fetch.from_debian("asterisk-core-sounds-en", _TEXTS) / _TEXTS).read_bytes()).decode(
            "utf-8"
        )
    )
    sounds = fetch.from_debian("asterisk-core-sounds-en-g722", _SOUNDS) / _SOUNDS
    unique = sorted({_key(text) for text in texts.values() if len(text.split()) >= 4})
    test, validation = set(unique[:TEST]), set(unique[TEST : TEST + VALIDATION])

    def split(text: str) -> str:
        return "test" if _key(text) in test else "validation" if _key(text) in validation else "train"

    utterances = tuple(
        Utterance(
            f"prompt-{name.replace('/', '-')}",
            text,
            spoken(text),
            "allison",
            split(text),
            SAMPLE_RATE,
            functools.partial(decode_g722, sounds / f"{name}.g722"),
        )
        for name, text in sorted(texts.items(), key=lambda item: (_key(item[1]), item[0]))
    )
    return Corpus("prompts", SOURCE, LICENCE, utterances)


def parse(listing: str) -> dict[str, str]:
    """ "name: text" lines as a dictionary, without comments and without what is not speech: "[beep]", "(1
    second of silence)".
    """
    pairs = (line.split(":", 1) for line in listing.splitlines() if ":" in line and not line.startswith(";"))
    texts = {name.strip(): " ".join(text.split()) for name, text in pairs}
    return {
        name: text
        for name, text in texts.items()
        if re.search(r"[A-Za-z]", text) and not re.search(r"[\[\]<>()]", text)
    }


def decode_g722(path: str | Path) -> tuple[np.ndarray, int]:
    """Raw G.722 at 64 kbit/s (ITU-T G.722) as (waveform (n_samples,) float32, 16,000)."""
    import av

    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no recording at {path}")
    if not path.stat().st_size:
        raise AudioError(f"{path} is empty")
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32_768, SAMPLE_RATE


def _key(text: str) -> str:
    return hashlib.sha256(re.sub(r"[^a-z0-9]+", " ", text.lower()).strip().encode()).hexdigest()
