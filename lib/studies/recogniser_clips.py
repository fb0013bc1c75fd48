"""Which clips is the recogniser taught with, by which is it chosen, and on which is it judged? A plan, and what comes
of it: recordings of a person and sentences read by voices, apart by text and by application, in every domain. Voices
are the same on all sides, so the clean clips say what is forgotten of speech like that which was taught; what is
forgotten beyond is heard in `UNHEARD_SET`, by voices that nobody trained on. Clips to learn from fit into the
training's window; those to judge on are as long as they are, for judging is in the whole 30 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.corpora import domains, flite, public, recognition, synthetic
from lib.corpora import sentences as texts
from lib.corpora.base import Sentence, Utterance
from lib.corpora.domains import CLEAN, HARD, HARD_SET, UNHEARD_SET, UNTRAINED, Clip
from lib.errors import MissingDataError
from lib.files import content_key
from lib.studies import finetuning
from lib.training.recogniser import Settings

if TYPE_CHECKING:
    from lib.systems.base import System

UNHEARD = (
    "rms",
    "awb",
)  # of `lib.corpora.flite`: two men, one of them Scottish, built from recordings of others
ALL_PROMPTS = 100  # about as many recordings are in the test split
DAMAGED = 8  # clips of a domain by which its damage is known: enough for every kind of noise in it


@dataclass(frozen=True)
class Plan:
    """Who learns from what, and what it is judged on. Numbers are clips; a sentence that is read is one of each voice;
    the clips of a public corpus count as prompts.
    """

    system: str = "whisper-tiny.en"  # or a Whisper of the hub
    corpus: str = ""  # a public one, as `corpora.public.load` takes it; "": the prompts
    source: str = ""  # its folder or hub repository ("": its own)
    voices: tuple[str, ...] = ("hibari", "vits-joe")  # that read sentences beside the recordings
    train_prompts: int = 0  # 0: all
    train_read: int = 60
    validation_prompts: int = 16
    validation_read: int = 4
    test_prompts: int = 50
    test_read: int = 25
    test_untrained: int = 60  # of the test clips, in the domain that is not trained
    test_unheard: int = (
        16  # sentences that each voice of `UNHEARD` reads; half as many pairs of them in one breath
    )
    settings: Settings = Settings()

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Plan:
        """The plan that `dataclasses.asdict` took apart."""
        whole = {**fields, "voices": tuple(fields["voices"]), "settings": Settings(**fields["settings"])}
        return cls(**whole)


@dataclass(frozen=True)
class Data:
    """Clips to learn from, to choose by and to judge on; left_out: id of an utterance -> why."""

    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    tests: dict[str, tuple[Clip, ...]]  # `HARD_SET`, `CLEAN`, `UNTRAINED`, `UNHEARD_SET`
    left_out: dict[str, str]


def data(plan: Plan) -> Data:
    """The clips of a plan; speech that is in no cache is made now. Where the recordings cannot be had, `left_out` says
    so under "recordings", and voices alone are heard; where nobody else speaks, it says so under `UNHEARD_SET`.
    """
    sentences = recognition.to_read(
        {"train": plan.train_read, "validation": plan.validation_read, "test": plan.test_read}
    )
    spoken = [u for name in plan.voices for u in synthetic.corpus(_voice(name), sentences).utterances]
    left_out: dict[str, str] = {}
    try:
        recorded = _recorded(plan)
    except MissingDataError as error:  # no apt here, or no hub
        recorded, left_out["recordings"] = (), str(error)
    try:
        others = _unheard(plan)
    except MissingDataError as error:  # no apt here
        others, left_out[UNHEARD_SET] = (), str(error)
    apart = recognition.hold_apart([*recorded, *spoken, *others])
    unheard = {utterance.id for utterance in others}
    first = _first([u for u in apart.utterances if u.id not in unheard], plan)
    learnt = recognition.usable([u for u in first if u.split != "test"], plan.settings.window_s)
    judged = recognition.usable([u for u in first if u.split == "test"])
    train, validation = (recognition.of_split(learnt.utterances, split) for split in ("train", "validation"))
    heard = recognition.of_split(judged.utterances, "test")
    tests = {
        HARD_SET: domains.each_once(heard),
        CLEAN: domains.in_all(heard, (CLEAN,)),
        UNTRAINED: domains.in_all(heard[: plan.test_untrained], (UNTRAINED,)),
    }
    if others:
        tests[UNHEARD_SET] = domains.in_all(recognition.usable(others).utterances, (CLEAN,))
    known = (CLEAN, *HARD)
    return Data(
        domains.in_all(train, known),
        domains.each_once(validation, known, seed=1),
        tests,
        {**left_out, **apart.left_out, **learnt.left_out, **judged.left_out},
    )


def clips_key(clips: Data) -> str:
    """What is learnt from and chosen by, by sound and text: each utterance, and of each domain the first `DAMAGED`
    clips as they are heard in it, for another damage leaves its name as it was.
    """
    learnt = (*clips.train, *clips.validation)
    said = {clip.utterance.id: clip.utterance for clip in learnt}
    damaged = (
        clip for domain in domains.DOMAINS for clip in [c for c in learnt if c.domain == domain][:DAMAGED]
    )
    heard = content_key(*(clip.load().tobytes() for clip in damaged))
    return content_key(finetuning.clips_key(said.values()), [clip.id for clip in learnt], heard)


def planned(
    steps: int,
    *,
    batch: int = 4,
    prompts: int = 0,
    read: int = 60,
    test_prompts: int = 50,
    test_read: int = 25,
    seed: int = 0,
    window_s: float = 8.0,
    **others: Any,
) -> Plan:
    """A plan of usual proportions. prompts, read: recordings (0: all) and sentences that are learnt from; test_prompts,
    test_read: the same of the test clips; others: of `Plan`. Of voices that nobody trained on there are two thirds as
    many clips as sentences of the test set.
    """
    settings = Settings(
        steps=steps,
        batch=batch,
        warmup=max(1, steps // 10),
        window_s=window_s,
        evaluate_every=max(1, min(25, steps // 3)),
        seed=seed,
    )
    few = prompts and prompts < 40
    return Plan(
        train_prompts=prompts,
        train_read=read,
        validation_prompts=6 if few else 16,
        validation_read=1 if few else 4,
        test_prompts=test_prompts,
        test_read=test_read,
        test_untrained=max(4, round(0.6 * ((test_prompts or ALL_PROMPTS) + 2 * test_read))),
        test_unheard=max(4, round(2 / 3 * test_read)),
        settings=settings,
        **others,
    )


def described(clips: Data, plan: Plan) -> list[str]:
    """What is learnt from and judged on, in sentences."""
    words = {name: sum(len(c.utterance.normalized.split()) for c in part) for name, part in clips.tests.items()}
    tests = "; ".join(f"{name} {len(part)} clips, {words[name]} words" for name, part in clips.tests.items())
    missing = {who: clips.left_out[who] for who in ("recordings", UNHEARD_SET) if who in clips.left_out}
    reasons = [why for who, why in clips.left_out.items() if who not in missing]
    near, long = (sum(what in why for why in reasons) for what in ("near to", "longer than the window"))
    utterances = len({clip.utterance.id for clip in clips.train})
    unheard = dict.fromkeys(clip.utterance.speaker for clip in clips.tests.get(UNHEARD_SET, ()))
    others = f" Nobody trained on {' or '.join(unheard)}, who speak in {UNHEARD_SET}." if unheard else ""
    said = [
        f"{len(clips.train)} clips to learn from: {utterances} utterances, each clean and in {len(HARD)} domains; "
        f"{len(clips.validation)} to choose by; to judge on: {tests}.{others}",
        f"Left out: {near} because their text is near to one that is held out, {long} that are longer than the window "
        f"of {plan.settings.window_s:g} s, {len(reasons) - near - long} for another reason.",
    ]
    named = {"recordings": "Without the recordings", UNHEARD_SET: "Without voices that nobody trained on"}
    return [*said, *(f"{named[who]}: {why}" for who, why in missing.items())]


def _first(utterances: Sequence, plan: Plan) -> list:
    """Of each split the first recordings and the first read sentences, as many as the plan says (0 recordings: all)."""
    limits = {
        "train": (plan.train_prompts, plan.train_read),
        "validation": (plan.validation_prompts, plan.validation_read),
        "test": (plan.test_prompts, plan.test_read),
    }
    chosen = []
    for split, (prompts, read) in limits.items():
        own = [u for u in utterances if u.split == split]
        people = [u for u in own if u.speaker not in plan.voices]
        voices = [u for u in own if u.speaker in plan.voices]
        chosen += people[: prompts or None] + (voices[: read * len(plan.voices)] if read else [])
    return chosen


def _unheard(plan: Plan) -> list[Utterance]:
    """Test sentences of the novel, the last first, and pairs of them read in one breath, by voices that none of the
    plan's sets knows.
    """
    sentences = texts.test_set("botchan")[::-1][: plan.test_unheard]
    pairs = [
        Sentence(f"{one.id}-{other.id}", f"{one.text} {other.text}", "test")
        for one, other in zip(sentences[::2], sentences[1::2])
    ]
    return [u for voice in UNHEARD for u in flite.corpus(voice, (*sentences, *pairs)).utterances]


def _voice(name: str) -> System:
    from lib import systems

    target = "onnxruntime/cpu" if "onnxruntime/cpu" in systems.targets(name) else None
    return systems.load(name, target=target, threads=1)


def _recorded(plan: Plan) -> Sequence[Utterance]:
    """The recordings of people that a plan names, in their splits."""
    if not plan.corpus:
        return recognition.recordings().utterances
    wanted = (plan.train_prompts, plan.validation_prompts, plan.test_prompts)
    return public.load(plan.corpus, plan.source or None, limit=max(wanted) if all(wanted) else None).utterances
