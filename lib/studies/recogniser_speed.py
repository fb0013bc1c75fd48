"""How fast is a recogniser where it is deployed, and does it still hear the same words?

All its forms in one bench: the same clips on as many threads, a greedy search that stops at the same word
(`lib.systems.whisper.package.LONGEST`), fresh processes in turns. Weights in 8 bits are laid beside single precision on
the same runtime (the speed-up in `rtf`); every form beside the same weights in single precision on PyTorch, which is
transformers' own greedy search (`speedup`, whose detail holds the paired change of word errors and the verdict). What
computes in single precision may lie in half: files of CTranslate2 do, and those of fine-tuned weights on PyTorch. The
stages are not cut alike: on ONNX Runtime the encoder makes the keys and values that the decoder's first step makes
elsewhere.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import ParameterError
from lib.files import content_key
from lib.measure import bench, paired, stats, verdict
from lib.measure.benched import Candidate
from lib.measure.evaluate import Clip
from lib.measure.scores import recognised
from lib.studies.cells import marked, number
from lib.studies.misheard import of_texts
from lib.studies.resumed import kept

if TYPE_CHECKING:
    import pandas as pd

    from lib.measure.benched import Benched
    from lib.measure.stats import Difference
    from lib.results import Run
    from lib.systems.base import Recogniser

log = logging.getLogger(__name__)

REFERENCE = "torch/cpu"  # transformers, in single precision
PACKAGE = "faster-whisper/cpu"  # to compare with: its engine and its own 8 bits
STAGES = ("features", "encoder", "decoder")
_COSTS = {
    "size_mb": "size, MB",
    "throughput_rtfx": "RTFx",
    "latency_ms_p50": "latency of a clip, ms",
    "speedup": "times as fast as PyTorch",
}
_RESOURCES = {
    "peak_rss_mb": "peak memory, MB",
    "cold_start_s": "cold start, s",
    "energy_j_per_audio_s": "energy, J/s",
}


@dataclass(frozen=True, eq=False)
class Form:
    """A recogniser as it is deployed. variant: its name in rows; heard: its transcript of each clip that it is judged
    on; weights: whose they are; made_of: the variant on the same target that it was made of, "" in single precision.
    """

    recogniser: Recogniser
    variant: str
    heard: tuple[str, ...]
    weights: str = "baseline"
    made_of: str = ""

    @property
    def label(self) -> str:
        """Its variant and target."""
        return f"{self.variant} on {self.recogniser.target}"

    @property
    def candidate(self) -> Candidate:
        """For the bench, under its name in rows."""
        own = Candidate.of(self.recogniser)
        return dataclasses.replace(own, variant=self.variant, origin={**own.origin, "variant": self.variant})


def timed(
    run: Run,
    forms: Sequence[Form],
    said: Sequence[str],
    clips: Sequence[Clip],
    *,
    rounds: int = 3,
    threads: int = 2,
    energy: bool = False,
    resume: Path | None = None,
) -> dict[str, Benched]:
    """A bench of all forms on the clips, by label, with its rows. said: the words of the clips that `Form.heard` is of;
    energy: as of the bench; resume: where benches are kept (`resumed`). Nothing where there is no form or no clip.
    """
    if not forms or not clips:
        return {}
    if len({form.label for form in forms}) < len(forms):
        raise ParameterError(
            f"two forms of one name among {', '.join(f.label for f in forms)}: give each its own variant"
        )
    for form in forms:
        if len(form.heard) != len(said):
            raise ParameterError(
                f"{form.label} heard {len(form.heard)} clips of {len(said)}: only the same ones can be compared"
            )
    candidates = {form.label: form.candidate for form in forms}
    whose = [(*one.names, one.fingerprint) for one in candidates.values()]
    heard = [content_key(clip.waveform.tobytes(), clip.sample_rate) for clip in clips]
    benched = kept(
        resume,
        lambda: ["bench", whose, heard, rounds, threads, run.seed, energy],
        lambda: bench.bench(
            candidates, list(clips), rounds=rounds, threads=threads, seed=run.seed, energy=energy
        ),
        label="bench of the recogniser's forms",
        whole=lambda all_of_them: not any(one.why_not for one in all_of_them.values()),
    )
    bench.write(run, benched, _made_of(forms))
    for form in forms:
        reference = reference_of(form, forms)
        if reference is not None:
            _record(run, form, reference, said, benched, _package(form, forms, benched))
    return benched


def reference_of(form: Form, forms: Sequence[Form]) -> Form | None:
    """The same weights in single precision on PyTorch; None for that form itself, and where it is not here."""
    found = (
        other
        for other in forms
        if (other.recogniser.target, other.weights, other.made_of) == (REFERENCE, form.weights, "")
    )
    reference = next(found, None)
    return None if reference is form else reference


def change(said: Sequence[str], before: Sequence[str], after: Sequence[str]) -> Difference:
    """Word errors after minus before as a fraction of the words, paired; clips of near texts are drawn together."""
    counted = [_counted(said, heard) for heard in (after, before)]
    return stats.paired_ratio_difference(*(side for counts in counted for side in counts))


def deployed(table: pd.DataFrame, system: str, at: str = "") -> pd.DataFrame:
    """A line for each form of a recogniser that has a size: what it hears, what it costs and what it is called, side by
    side. at: what the names of variants end with ("@hard").
    """
    import pandas as pd

    mine = table[(table.system == system) & table.value.notna() & table.variant.str.endswith(at)]
    sized = mine[mine.metric == "size_mb"][["variant", "target"]].drop_duplicates()
    rows = []
    for variant, target in sized.itertuples(index=False):
        own = mine[(mine.variant == variant) & (mine.target == target)].drop_duplicates("metric", keep="last")
        by_metric = {row.metric: row for row in own.itertuples()}
        if "wer" in by_metric:
            rows.append({"variant": variant, "target": target, **_line(by_metric)})
    made = pd.DataFrame(rows, columns=["variant", "target", *_COLUMNS])
    return made.loc[:, (made != "").any() | made.columns.isin(("variant", "target"))] if len(made) else made


def finding(table: pd.DataFrame, system: str, at: str = "") -> str | None:
    """The fastest form beside transformers, in a sentence; None where no such speed-up is known."""
    mine = table[(table.system == system) & (table.metric == "speedup") & table.value.notna()]
    mine = mine[mine.variant.str.endswith(at)]
    if mine.empty:
        return None
    best = mine.loc[mine.value.idxmax()]
    about = _detail(best)
    few = "" if best.ci_low == best.ci_low else ", too few rounds or clips for an interval"
    return (
        f"Of {len(mine)} forms laid beside transformers in single precision, {best.variant} on {best.target} is the "
        f"fastest: {_told(best, 2)} times{few}; {about.get('identical_pct', float('nan')):.0f} % of its transcripts "
        f"are the same, letter by letter, and by its word errors it is {about.get('verdict', 'not judged')}."
    )


def _counted(said: Sequence[str], heard: Sequence[str]) -> tuple[list[int], list[int]]:
    """(errors, words) of each text, over all clips that say it or nearly it."""
    return of_texts(
        said, [recognised(text, transcript).wer for text, transcript in zip(said, heard, strict=True)]
    )


def _made_of(forms: Sequence[Form]) -> dict[str, str]:
    """Label -> the label of the form on the same target that it was made of."""
    own = {(form.variant, form.recogniser.target): form.label for form in forms}
    pairs = {form.label: own.get((form.made_of, form.recogniser.target)) for form in forms}
    return {label: other for label, other in pairs.items() if other}


def _package(form: Form, forms: Sequence[Form], benched: Mapping[str, Benched]) -> Benched | None:
    """What the bench saw of the package with the same weights; None for itself and where it was not timed."""
    found = next((f for f in forms if (f.recogniser.target, f.weights) == (PACKAGE, form.weights)), None)
    return None if found in (None, form) or benched[found.label].why_not else benched[found.label]


def _record(
    run: Run,
    form: Form,
    reference: Form,
    said: Sequence[str],
    benched: Mapping[str, Benched],
    package: Benched | None,
) -> None:
    """The row of a form beside the reference: how many times as fast, and whether it hears as well; and how many times
    as fast as the package.
    """
    one, base = benched[form.label], benched[reference.label]
    if why := one.why_not or base.why_not:
        run.not_run(*one.candidate.names, "speedup", why)
        return
    faster, difference = bench.speedup(one, base), change(said, reference.heard, form.heard)
    gains = [verdict.Gain("rtf", faster.value, *(faster.ci or (None, None)))]
    sizes = reference.recogniser.size_mb, form.recogniser.size_mb
    if all(sizes):
        gains.append(verdict.Gain("size_mb", sizes[0] / sizes[1]))
    quality = verdict.quality_verdict({"wer": difference}, verdict.RECOGNISER)
    worth = verdict.recommendation(quality, gains, never_more=verdict.OF_A_VARIANT)
    same = sum(a == b for a, b in zip(form.heard, reference.heard, strict=True))
    detail = {
        "of": str(base.candidate),
        "times_smaller": round(gains[-1].times, 3) if all(sizes) else None,
        "identical_pct": round(100 * same / len(said), 1) if said else None,
        "wer": paired.detail(difference),
        "verdict": quality.word,
        "recommendation": worth.word,
        "why": worth.reason,
    }
    if package is not None:
        over = bench.speedup(one, package)
        detail["over faster-whisper"] = {"times": over.value, "ci_low": over.low, "ci_high": over.high}
    run.add(
        *one.candidate.names,
        "speedup",
        faster.value,
        n=faster.n,
        ci=faster.ci,
        source="one bench of both",
        detail=detail,
    )


_COLUMNS = (
    "WER, %",
    "same transcripts, %",
    *_COSTS.values(),
    " / ".join(STAGES) + ", ms a second",
    *_RESOURCES.values(),
    "verdict",
    "recommendation",
)


def _line(rows: Mapping[str, object]) -> dict[str, str]:
    """The cells of one form."""
    beside = _detail(rows["speedup"]) if "speedup" in rows else {}
    stages = _detail(rows["rtf"]).get("stages", {}) if "rtf" in rows else {}
    line = {
        "WER, %": _told(rows["wer"], 1, 100),
        "same transcripts, %": f"{beside['identical_pct']:.0f}" if "identical_pct" in beside else "",
        _COLUMNS[2 + len(_COSTS)]: " / ".join(f"{1000 * stages[s]:.1f}" for s in STAGES)
        if set(STAGES) <= stages.keys()
        else "",
        "verdict": beside.get("verdict", ""),
        "recommendation": beside.get("recommendation", ""),
    }
    digits = {"speedup": 2, "cold_start_s": 2, "energy_j_per_audio_s": 2, "latency_ms_p50": 0, "peak_rss_mb": 0}
    return line | {
        name: _told(rows[metric], digits.get(metric, 1)) if metric in rows else ""
        for metric, name in (_COSTS | _RESOURCES).items()
    }


def _told(row, digits: int, scale: float = 1.0) -> str:
    return marked(row, number(row, f".{digits}f", scale=scale))


def _detail(row) -> dict:
    """A row's detail; {} where it is words."""
    try:
        detail = json.loads(row.detail)
    except ValueError:
        return {}
    return detail if isinstance(detail, dict) else {}
