"""Which clips is the recogniser taught with, by which is it chosen, and on which is it judged? A plan, and what comes
of it: recordings of a person and sentences read by voices, apart by text and by application, in every domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.corpora import domains, public, recognition, synthetic
from lib.corpora.base import Utterance
from lib.corpora.domains import CLEAN, HARD, HARD_SET, UNTRAINED, Clip
from lib.errors import MissingDataError
from lib.training.recogniser import Settings

if TYPE_CHECKING:
    from lib.systems.base import System


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
    tests: dict[str, tuple[Clip, ...]]  # `HARD_SET`, `CLEAN`, `UNTRAINED`
    left_out: dict[str, str]


def data(plan: Plan) -> Data:
    """The clips of a plan; speech that is in no cache is made now. Where the recordings cannot be had, `left_out` says
    so under "recordings", and voices alone are heard.
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
    apart = recognition.hold_apart([*recorded, *spoken])
    usable = recognition.usable(_first(apart.utterances, plan), plan.settings.window_s)
    train, validation, heard = (
        recognition.of_split(usable.utterances, split) for split in ("train", "validation", "test")
    )
    tests = {
        HARD_SET: domains.each_once(heard),
        CLEAN: domains.in_all(heard, (CLEAN,)),
        UNTRAINED: domains.in_all(heard[: plan.test_untrained], (UNTRAINED,)),
    }
    known = (CLEAN, *HARD)
    return Data(
        domains.in_all(train, known),
        domains.each_once(validation, known, seed=1),
        tests,
        {**left_out, **apart.left_out, **usable.left_out},
    )


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
    test_read: the same of the test clips; others: of `Plan`.
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
        test_untrained=max(4, round(0.6 * (test_prompts + 2 * test_read))),
        settings=settings,
        **others,
    )


def described(clips: Data, plan: Plan) -> list[str]:
    """What is learnt from and judged on, in sentences."""
    words = {name: sum(len(c.utterance.normalized.split()) for c in part) for name, part in clips.tests.items()}
    tests = "; ".join(f"{name} {len(part)} clips, {words[name]} words" for name, part in clips.tests.items())
    missing = clips.left_out.get("recordings", "")
    reasons = [why for who, why in clips.left_out.items() if who != "recordings"]
    near, long = (sum(what in why for why in reasons) for what in ("near to", "longer than the window"))
    utterances = len({clip.utterance.id for clip in clips.train})
    said = [
        f"{len(clips.train)} clips to learn from: {utterances} utterances, each clean and in {len(HARD)} domains; "
        f"{len(clips.validation)} to choose by; to judge on: {tests}.",
        f"Left out: {near} because their text is near to one that is held out, {long} that are longer than the window "
        f"of {plan.settings.window_s:g} s, {len(reasons) - near - long} for another reason.",
    ]
    return [*said, f"Without the recordings: {missing}"] if missing else said


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
