"""How good are the systems as they come, how far from their teachers, how far from a person? What 01_baselines does.

voices = baselines.voices(threads=2)
clips = baselines.speak(voices, sentences)
judged = baselines.quality(run, voices, clips, scorer)

Every text-to-speech system of the registry takes part on each CPU runtime it has: a new one needs no line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lib import systems, targets
from lib.corpora import prompts
from lib.errors import unknown
from lib.measure import comparisons, evaluate
from lib.measure.evaluate import Clip, Judged

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.base import System

TEACHERS = ("vits-joe", "hibari")  # the voices that ours learnt from
ANCHOR = "espeak-ng"  # it learnt nothing: every measure has to put it last
NOISE = ("speecht5-base",)  # random weights: timed, never judged
SECOND = "hibari"  # the voice that `hifigan` has not learnt
SECOND_BY = systems.OWN_VOCODERS[SECOND]
ON = "onnxruntime/cpu"  # where it speaks
READERS = ("vits-joe", "hibari")  # who reads the texts of the recordings, too
QUALITY = ("mos_predicted", "wer", "asr_nll", "dnsmos_ovrl", "speaker_similarity")
PROMPTS = "baseline@prompts"


def label(voice: System) -> str:
    """How a notebook names a loaded voice: "vits-joe (torch/cpu)"."""
    return f"{voice.name} ({voice.target})"


def voices(threads: int = 2) -> dict[str, System]:
    """Label -> every system that can be listened to: teachers on each CPU runtime they have, pupils and the anchor on
    their usual one; on which other runtimes pupils speak, and how fast, is asked by `lib.studies.compression`.
    """
    order = sorted(
        set(systems.names("speech")) - set(NOISE),
        key=lambda name: (name not in TEACHERS, name == ANCHOR, name != TEACHERS[0], name),
    )
    loaded = (
        systems.load(name, target=target, threads=threads)
        for name in order
        for target in systems.targets(name)[: None if name in TEACHERS else 1]
        if targets.find(target).device == "cpu"
    )
    return {label(voice): voice for voice in loaded}


def once(labelled: Mapping[str, Any]) -> dict[str, Any]:
    """System -> what is labelled with its first runtime: what two runtimes say alike need not be shown twice."""
    first: dict[str, Any] = {}
    for key, value in labelled.items():
        first.setdefault(key.split(" ")[0], value)
    return first


def named(voices: Mapping[str, System], systems: Sequence[str]) -> dict[str, System]:
    """Those of the voices that are of these systems; [] stands for all. ParameterError for a system that none is of."""
    known = {voice.name for voice in voices.values()}
    for name in systems:
        if name not in known:
            raise unknown("system", name, sorted(known))
    return {label: voice for label, voice in voices.items() if not systems or voice.name in systems}


def pupils(voices: Mapping[str, System]) -> list[str]:
    """Labels of the systems that learnt from another voice here."""
    return [key for key, voice in voices.items() if evaluate.TEACHERS.get(voice.name)]


def teacher(voices: Mapping[str, System], name: str = TEACHERS[0]) -> str:
    """The label of a teacher on ONNX Runtime, where its clips are made that the pupils learnt from."""
    return next(key for key, v in voices.items() if v.name == name and v.target.startswith("onnxruntime"))


def overview(voices: Mapping[str, System]) -> pd.DataFrame:
    """A line per voice: its kind, sample rate, parameters (of torch networks, the vocoder's too) and download."""
    import pandas as pd

    taught = pupils(voices)
    kinds = {name: "teacher" for name in TEACHERS} | {ANCHOR: "rules, no learning"}
    lines = {
        key: {
            "kind": kinds.get(voice.name, "trained here" if key in taught else "a voice of its own"),
            "sample rate, Hz": f"{voice.sample_rate:,}",
            "parameters with vocoder, M": f"{voice.params_m:.2f}" if voice.modules else "",
            "download, MB": "" if voice.size_mb is None else f"{voice.size_mb:.1f}",
        }
        for key, voice in voices.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index")


def speak(
    voices: Mapping[str, System], sentences: Sequence[Sentence], *, seed: int = 0
) -> dict[str, tuple[Clip, ...]]:
    """Label -> every sentence once, sentence i with seed + i."""
    return {key: evaluate.speak(voice, sentences, seed=seed) for key, voice in voices.items()}


def pace(clips: Mapping[str, Sequence[Clip]], number: int = 0) -> str:
    """Who takes the least and who the most time for one sentence, in a sentence."""
    seconds = {key: len(c[number].waveform) / c[number].sample_rate for key, c in clips.items()}
    slow, fast = max(seconds, key=seconds.get), min(seconds, key=seconds.get)
    return (
        f"The same {len(clips[fast][number].text.split())} words take {seconds[fast]:.1f} s in {fast}, the quickest of "
        f"{len(seconds)}, and {seconds[slow]:.1f} s in {slow}, the slowest."
    )


def quality(
    run: Run,
    voices: Mapping[str, System],
    clips: Mapping[str, Sequence[Clip]],
    scorer: Scorer,
    *,
    second_opinion: int | None = None,
    keep: int = 0,
) -> dict[str, Judged]:
    """Judge every voice's clips and write the rows; `keep` clips of each system (not of each runtime) are kept.

    Speaker similarity is to clips of whoever should be heard (`evaluate.reference_clips`).
    """
    judged, heard = {}, set()
    for key, voice in voices.items():
        judged[key] = evaluate.quality(
            run,
            (voice.name, voice.variant, voice.target),
            clips[key],
            scorer,
            voice=evaluate.reference_clips(voice, threads=voice.threads),
            second_opinion=second_opinion,
            keep=0 if voice.name in heard else keep,
            group="Held-out sentences",
        )
        heard.add(voice.name)
    return judged


def ranking(judged: Mapping[str, Judged], *, seed: int = 0) -> str:
    """The order by predicted MOS, each system once, in a sentence."""
    once = {key.split(" ")[0]: key for key in judged}
    return comparisons.ranking(seed, {key: judged[key] for key in judged if key in once.values()})


def twins(voices: Mapping[str, System], judged: Mapping[str, Judged]) -> str | None:
    """Whether the runtimes of one voice say the same, in a sentence; None where no voice has two."""
    for name in dict.fromkeys(voice.name for voice in voices.values()):
        one, *others = [key for key, voice in voices.items() if voice.name == name]
        if others:
            return comparisons.same_voice(judged[one], judged[others[0]], one, others[0])
    return None


def lessons(voices: Mapping[str, System], judged: Mapping[str, Judged]) -> list[str]:
    """Each pupil against its teacher on the same sentences, a sentence each."""
    said = []
    for key in pupils(voices):
        name = evaluate.TEACHERS[voices[key].name]
        master = judged[teacher(voices, name)]
        said.append(comparisons.versus(judged[key], master, voices[key].name, f"its teacher {name}"))
    return said


def in_second_voice(threads: int = 2) -> System:
    """fastspeech2 in the voice that `hifigan` has not learnt, through that voice's own vocoder, on ONNX Runtime."""
    pupil = systems.load("fastspeech2", target=ON, threads=threads)
    return pupil.derive(f"{SECOND_BY}@{SECOND}", speaker=SECOND, vocoder=SECOND_BY, sharpness=1.0)


def second_voice(
    run: Run,
    second: System,
    judged: Mapping[str, Judged],
    scorer: Scorer,
    sentences: Sequence[Sentence],
    *,
    master: str,
    keep: int = 0,
) -> Judged:
    """`in_second_voice`'s clips with their scores, paired with its teacher's.

    master: the teacher's label in `judged`; sentences: those of it.
    """
    return evaluate.quality(
        run,
        (second.name, second.variant, second.target),
        evaluate.speak(second, sentences, seed=run.seed),
        scorer,
        voice=evaluate.reference_clips(SECOND, threads=second.threads),
        baseline=judged[master],
        baseline_name=SECOND,
        second_opinion=0,
        keep=keep,
        group="Held-out sentences",
    )


def echo(voices: Mapping[str, System], judged: Mapping[str, Judged], second: Judged) -> str:
    """The pupil in its second voice (`second_voice`) against that voice's own clips, in a sentence."""
    who = f"In the voice of {SECOND}, through {SECOND_BY}, fastspeech2"
    return comparisons.versus(second, judged[teacher(voices, SECOND)], who, "that teacher")


def against_a_person(
    run: Run,
    voices: Mapping[str, System],
    scorer: Scorer,
    *,
    n_prompts: int,
    n_compared: int,
    second_opinion: int | None = None,
    keep: int = 0,
) -> dict[str, Judged]:
    """The recorded prompts through the same judges, and READERS reading the first of the same texts, paired.

    "person" and each reader's label -> judged; empty, with rows that say why, where the recordings cannot be had.
    """
    names = ("ground-truth", "baseline", "recording/prompts")
    corpus = evaluate.try_or_not_run(run, names, ["wer", "mos_predicted"], prompts.load)
    if corpus is None:
        return {}
    settings = {
        "second_opinion": second_opinion,
        "keep": keep,
        "group": "Telephone prompts, human and synthetic",
    }
    speaker = evaluate.reference_clips(corpus)
    person = evaluate.quality(
        run, names, evaluate.recordings(corpus, limit=n_prompts), scorer, voice=speaker, **settings
    )
    judged, same = {"person": person}, comparisons.first(person, n_compared)
    for key in (teacher(voices, name) for name in READERS):
        voice = voices[key]
        judged[key] = evaluate.quality(
            run,
            (voice.name, PROMPTS, voice.target),
            evaluate.speak(voice, same.clips, seed=run.seed),
            scorer,
            voice=evaluate.reference_clips(voice),
            baseline=same,
            baseline_name="ground-truth",
            **settings,
        )
    return judged


def prompts_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the person and of those who read the same texts, of a table of `lib.results.read`."""
    return table[(table.system == "ground-truth") & (table.variant == "baseline") | (table.variant == PROMPTS)]


def beside_the_person(judged: Mapping[str, Judged]) -> list[str]:
    """Each reader of the prompts against the person, a sentence each; nothing without recordings."""
    return [
        comparisons.versus(
            one,
            comparisons.first(judged["person"], len(one.scores)),
            f"Reading the same prompts, {key}",
            "the recorded speaker",
        )
        for key, one in judged.items()
        if key != "person"
    ]


def astray(clips: Mapping[str, Sequence[Clip]]) -> str | None:
    """How often each system that watches its attention lost its way, in a sentence; None where none does."""
    watched = {key: c for key, c in clips.items() if evaluate.attention_failures(c) is not None}
    if not watched:
        return None
    said = [
        f"{key} in {sum(bool(clip.notes) for clip in c)} of {len(c)} sentences" for key, c in watched.items()
    ]
    return f"The way through the text was lost by {', by '.join(said)}."
