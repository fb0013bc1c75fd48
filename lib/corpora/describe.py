"""What is in a corpus: how much of it, who speaks, how long, how high and how fast."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lib import progress
from lib.corpora.base import SPLITS, Corpus
from lib.prosody import prosody

if TYPE_CHECKING:
    import pandas as pd


def overview(corpora: Sequence[Corpus]) -> "pd.DataFrame":
    """One line per corpus: utterances by split, skipped clips, speakers, sample rate, licence and source."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "corpus": corpus.name,
                "utterances": len(corpus),
                **{split: len(corpus.split(split)) for split in SPLITS},
                "skipped": len(corpus.skipped),
                "speakers": len({u.speaker for u in corpus.utterances}),
                "Hz": "/".join(str(rate) for rate in sorted({u.sample_rate for u in corpus.utterances})),
                "licence": corpus.licence,
                "source": corpus.source,
            }
            for corpus in corpora
        ]
    ).set_index("corpus")


def finding(corpora: Sequence[Corpus]) -> str:
    """How many utterances of how many speakers there are, and what was skipped, in a sentence."""
    counts = ", ".join(f"{len(corpus):,} in {corpus.name}" for corpus in corpora)
    speakers = len({utterance.speaker for corpus in corpora for utterance in corpus.utterances})
    skipped = sum(len(corpus.skipped) for corpus in corpora)
    return f"{counts} utterances of {speakers} speakers; {skipped} clips were skipped."


def statistics(corpora: Sequence[Corpus], *, limit: int | None = None) -> "pd.DataFrame":
    """One line per utterance: corpus, speaker, seconds and its prosody (F0, range, slope, rate, pauses), at
    most `limit` each.
    """
    import pandas as pd

    rows = []
    for corpus in corpora:
        clips = itertools.islice(corpus.waveforms(), limit)
        for utterance, waveform in progress.track(clips, f"prosody of {corpus.name}", total=limit, unit="clip"):
            found = prosody(
                waveform,
                utterance.sample_rate,
                phones=utterance.phones,
                frames=utterance.frames,
                text=utterance.normalized,
            )
            rows.append(
                {
                    "corpus": corpus.name,
                    "speaker": utterance.speaker,
                    "id": utterance.id,
                    "seconds": len(waveform) / utterance.sample_rate,
                    "f0_median_hz": found.f0_median_hz,
                    "f0_range_st": found.f0_range_st,
                    "f0_slope_st_per_s": found.f0_slope_st_per_s,
                    "phones_per_s": found.rate,
                    "pauses": found.pauses,
                    "pause_s": found.pause_s,
                    "voiced_share": found.voiced_share,
                }
            )
    return pd.DataFrame(rows)
