"""What is missing in a vocoder's copy? The same copies in more and more passes (`lib.systems.istft.held`), and with
what only the original knows put in the place of what the vocoder made of it.

    passes-0 to passes-12          by `istft`, held to its mel so often
    true-magnitudes                as by default, with the original's magnitudes in windows of 46 ms, its own phases
    true-short-magnitudes          likewise in windows of 12 ms: how loud it is when
    true-phases, true-low-phases   the original's phases in windows of 46 ms, everywhere or below 2 kHz

No such copy can be had of a mel: what helps tells where the loss lies. Rows are of system `istft`: variant
"true-phases@gap" of all clips together, "true-phases@hibari@gap" of those of one voice, each paired with the
originals.

    python -m lib.studies.copy_gap --profile study --clips 24
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lib import environment, results, systems
from lib.errors import SpeechError
from lib.measure import evaluate, paired
from lib.measure.scorer import Scorer, source
from lib.measure.scores import ClipScores, compare, summarise
from lib.measure.stats import p_text
from lib.studies import vocoder_parts

if TYPE_CHECKING:
    from lib.measure.evaluate import Clip
    from lib.results import Run

SYSTEM, NOTEBOOK = "istft", "02_training"
SUFFIX = "@gap"  # of all variants
VOICES = ("vits-joe", "hibari", "prompts")
PASSES = (0, 1, 2, 3, 6, 12)
METRICS = ("mos_predicted", "pesq_wb")
LONG, SHORT = 1024, 256  # samples of a window, at 22.05 kHz 46 and 12 ms; a quarter from one to the next
LOW_HZ = 2_000
# What is taken from the original: (magnitudes or phases, window, below which frequency), and in words.
_TAKEN = {
    "true-magnitudes": (("magnitudes", LONG, None), "the true magnitudes of 46 ms windows"),
    "true-short-magnitudes": (("magnitudes", SHORT, None), "the true magnitudes of 12 ms windows"),
    "true-low-phases": (("phases", LONG, LOW_HZ), "the true phases below 2 kHz"),
    "true-phases": (("phases", LONG, None), "the true phases"),
}
CASES = (*(f"passes-{n}" for n in PASSES), *_TAKEN)
VARIANTS = tuple(f"{case}{SUFFIX}" for case in CASES)
_KEPT = ("difference", "ci_low", "ci_high", "p_value", "original", "voices")  # of a row's detail


def study(run: Run, scorer: Scorer, *, n_clips: int, voices: Sequence[str] = VOICES, threads: int = 2) -> None:
    """Judge the copies of the first n_clips held-out clips of each voice in every case, and write their rows. A
    voice that this machine cannot get becomes a row that says so.
    """
    vocoder = systems.load(SYSTEM, threads=threads)
    names = {voice: (SYSTEM, variant(CASES[0], voice), vocoder.target) for voice in voices}
    clips = vocoder_parts.originals(run, names, n_clips, threads)
    # voice -> case or "original" -> scores
    rated = {voice: _rated(vocoder, voice, heard, scorer) for voice, heard in clips.items()}
    for case in CASES:
        for voice in ("", *rated):
            scores, originals = (
                [score for of in ([voice] if voice else rated) for score in rated[of][who]]
                for who in (case, "original")
            )
            summary, away = summarise(scores, seed=run.seed), compare(scores, originals, seed=run.seed)
            whole = summarise(originals, seed=run.seed)["mos_predicted"].value
            for metric in METRICS:
                rating = metric == "mos_predicted"  # an original's PESQ is beside itself
                paired.write(
                    run,
                    (SYSTEM, variant(case, voice), vocoder.target),
                    metric,
                    summary[metric],
                    source(metric, scorer.compute_type),
                    baseline="original" if rating else "",
                    difference=away[metric] if rating else None,
                    **({"original": round(whole, 4), "voices": len(rated) if not voice else 1} if rating else {}),
                )


def variant(case: str, voice: str = "") -> str:
    """What a case is called in rows: of all clips, or of one voice's."""
    return f"{case}@{voice}{SUFFIX}" if voice else f"{case}{SUFFIX}"


def mixed(original: np.ndarray, copy: np.ndarray, what: str, window: int, below_hz: float | None) -> np.ndarray:
    """The copy with the original's "magnitudes" or "phases", at all frequencies or below one; each (n_samples,) at
    22.05 kHz, aligned.
    """
    from scipy import signal

    how = {"fs": 22_050, "nperseg": window, "noverlap": window - window // 4}
    hz, _, true = signal.stft(original, **how)
    _, _, ours = signal.stft(copy, **how)
    taken = np.ones(len(hz), bool) if below_hz is None else hz < below_hz
    size, turn = (true, ours) if what == "magnitudes" else (ours, true)
    ours[taken] = (np.abs(size) * np.exp(1j * np.angle(turn)))[taken]
    made = signal.istft(ours, **how)[1][: len(copy)]
    return np.clip(made, -1, 1).astype(np.float32)


def changes(table: pd.DataFrame, voice: str = "") -> pd.DataFrame:
    """How far each case lies below the originals, in the newest run: a line a case with its predicted MOS, the paired
    difference, interval and p value, as `lib.report.parts` draws them; empty without rows.
    """
    lines = [
        {"case": case, "metric": row.metric, "value": row.value, "n": row.n}
        | {name: json.loads(row.detail)[name] for name in _KEPT}
        for case, row in _newest(table, voice).items()
    ]
    made = pd.DataFrame(lines, columns=["case", "metric", "value", "n", *_KEPT])
    return made.astype(dict.fromkeys(_KEPT, float))  # what is not known: NaN


def verdict(table: pd.DataFrame) -> str | None:
    """What passes gain and what they leave, and which of the original's own parts would make up for it; None without
    rows. table: of `lib.results.read`.
    """
    found = changes(table)
    if found.empty or set(CASES) - set(found.case):
        return None
    by = found.set_index("case")
    gained = ", ".join(f"{by.value[f'passes-{n}']:.2f} after {n or 'none'}" for n in PASSES)
    helps = [f"{words} {_short(by.loc[case])}" for case, (_, words) in _TAKEN.items()]
    clips, voices = f"{by.n.iloc[0]:.0f} clips", f"{by.voices.iloc[0]:.0f} voice{'' if by.voices.iloc[0] == 1 else 's'}"
    return (
        f"The originals have a predicted MOS of {by.original.iloc[0]:.2f} ({clips}, {voices}); copies held to their "
        f"mel in passes {gained}. With something of the original in a copy it lies this far from it: with "
        f"{'; with '.join(helps)}."
    )


def _short(row: pd.Series) -> str:
    return f"{row.difference:+.2f} ({p_text(row.p_value)})"


def _newest(table: pd.DataFrame, voice: str) -> dict[str, pd.Series]:
    chosen = (table.system == SYSTEM) & table.variant.isin([variant(case, voice) for case in CASES])
    rows = results.newest_run(table[chosen & table.value.notna() & (table.metric == "mos_predicted")])
    ended = f"@{voice}{SUFFIX}" if voice else SUFFIX
    return {row.variant.removesuffix(ended): row for row in rows.itertuples()}


def _rated(vocoder, voice: str, clips: Sequence[Clip], scorer: Scorer) -> dict[str, list[ClipScores]]:
    """Case -> the scores of the copies, "original" -> those of the clips."""

    def copied(make: Callable[[np.ndarray], np.ndarray], case: str) -> tuple[Sequence[Clip], Sequence[Clip]]:
        return evaluate.copies(clips, make, f"{case} copies {voice}")

    made = {f"passes-{n}": copied(vocoder.adjusted(passes=n).vocode, f"passes-{n}") for n in PASSES}
    originals, usual = made[f"passes-{vocoder.passes}"]
    heard = {"original": originals, **{case: copies for case, (_, copies) in made.items()}}
    waves = {case: [clip.waveform for clip in heard_there] for case, heard_there in heard.items()}
    for case, (taken, _) in _TAKEN.items():
        waves[case] = [
            mixed(true.waveform, ours.waveform, *taken) for true, ours in zip(originals, usual, strict=True)
        ]
    return {
        case: scorer.rate_all(
            [(wave, clip.sample_rate, None) for wave, clip in zip(those, originals, strict=True)],
            originals=[clip.waveform for clip in originals],
            metrics=METRICS,
        )
        for case, those in waves.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.studies.copy_gap",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", default="study", help=f"whose rows of {NOTEBOOK} are written")
    parser.add_argument("--clips", type=int, default=24, help="of each voice")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    environment.pin_threads(options.threads)
    try:
        run = results.start(NOTEBOOK, options.profile)
        study(run, Scorer(threads=options.threads), n_clips=options.clips, threads=options.threads)
    except SpeechError as error:
        print(f"not finished: {error}", file=sys.stderr)
        return 1
    print(run.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
