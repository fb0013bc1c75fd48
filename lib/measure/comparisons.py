"""Two sets of judged clips beside each other, in a sentence: the same voice? better, by how much, by chance?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lib.measure import stats
from lib.measure.evaluate import Judged, check_paired
from lib.measure.scores import compare, summarise


def first(judged: Judged, n: int) -> Judged:
    """The first n clips of a judged set with their scores, to be compared with something done to those texts alone."""
    scores = judged.scores[:n]
    return Judged(judged.clips[:n], scores, summarise(scores))


def same_voice(one: Judged, other: Judged, name: str, other_name: str) -> str:
    """Two runtimes of one voice: how far their samples are apart, and what the judges make of that, in a sentence."""
    worst = max(
        float(np.abs(a.waveform - b.waveform).max()) if len(a.waveform) == len(b.waveform) else float("inf")
        for a, b in zip(one.clips, other.clips)
    )
    if np.isinf(worst):
        return f"{name} and {other_name} give the same voice other durations: they are not the same system."
    if worst >= 1e-3:
        return (
            f"{name} and {other_name} differ by up to {worst:.1e} of full scale: look for a numerical problem."
        )
    wer, mos = (abs(one.summary[m].value - other.summary[m].value) for m in ("wer", "mos_predicted"))
    return (
        f"Given the same random numbers, {name} and {other_name} differ by at most {worst:.1e} of full scale, "
        "which nobody hears. "
        f"That their WER still differs by {100 * wer:.1f} points and their predicted MOS by {mos:.3f} is the "
        "judges' own noise: "
        "smaller differences than these mean nothing."
    )


def ranking(seed: int, judged: Mapping[str, Judged]) -> str:
    """The order by predicted MOS, and which neighbours in it are apart at the 5 % level (same sentences, paired)."""
    order = sorted(judged, key=lambda label: -judged[label].summary["mos_predicted"].value)
    text = order[0].split(" ")[0]
    for better, worse in zip(order, order[1:]):
        check_paired(judged[better].clips, judged[worse].clips)
        gap = compare(judged[better].scores, judged[worse].scores, seed=seed)["mos_predicted"]
        text += f" {'>' if gap.significant else '≈'} {worse.split(' ')[0]}"
    return (
        f"By predicted MOS on the same sentences: {text} (> where the paired difference is significant at 5 %)."
    )


def versus(one: Judged, other: Judged, name: str, other_name: str) -> str:
    """Predicted MOS and WER of one against the other on the same texts, with the paired intervals."""
    check_paired(one.clips, other.clips)
    gaps = compare(one.scores, other.scores)
    mos, wer = gaps["mos_predicted"], gaps["wer"]
    words = []
    for gap, metric, unit, scale in (
        (mos, "predicted MOS", "predicted MOS points", 1),
        (wer, "WER", "points of WER", 100),
    ):
        size = f"{abs(gap.value) * scale:.2f}"
        said = (
            f"the same {metric}" if size == "0.00" else f"{size} {unit} {'more' if gap.value > 0 else 'less'}"
        )
        interval = f" [{gap.low * scale:+.2f}, {gap.high * scale:+.2f}]" if gap.ci else ""
        words.append(f"{said}{interval} ({stats.p_text(gap.p_value)})")
    return f"{name} gets {words[0]} and {words[1]}, compared with {other_name}; {mos.n} texts, paired."
