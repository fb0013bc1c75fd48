"""How is the recogniser taught to hear where it is weak, and how little of it has to learn?

Every method learns from the same clips, in the same order, for the same number of steps, each in a fresh process, so
that its memory is its own. Hyper-parameters are chosen by the loss on validation clips; what came of it is judged on
test clips by `retaught`, in the whole window of 30 s, whatever window it was learnt in.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import environment
from lib.errors import DivergedError, ParameterError, TrainingError, unknown
from lib.files import content_key, write_atomic
from lib.measure import memory, process
from lib.optimize import finetuned, lora
from lib.optimize.lora import Adapter
from lib.studies.rates import beyond
from lib.studies.recogniser_clips import Data, Plan, clips_key, data
from lib.training import recogniser as training
from lib.training import recogniser_checkpoints as checkpoints
from lib.training import recogniser_data
from lib.training.recogniser import Learnt, Settings

if TYPE_CHECKING:
    import transformers

    from lib.systems.base import Recogniser


log = logging.getLogger(__name__)
OUTCOME, WEIGHTS = "outcome.json", "weights.safetensors"
_REVISION = 2  # of what a run keeps
_ATTENTION, _BOTH = ("attention",), ("attention", "feed-forward")


@dataclass(frozen=True)
class Method:
    """What of the recogniser learns: a part of it, or an adapter. rate: the highest learning rate."""

    rate: float
    part: str = ""
    adapter: Adapter | None = None


METHODS: Mapping[str, Method] = {
    "full": Method(3e-5, part="all"),
    "encoder": Method(3e-5, part="encoder"),
    "decoder": Method(3e-5, part="decoder"),
    "lora-r8": Method(1e-3, adapter=Adapter("lora", 8, 16.0, _ATTENTION)),
    "dora-r8": Method(1e-3, adapter=Adapter("dora", 8, 16.0, _ATTENTION)),
    "qlora-r8": Method(1e-3, adapter=Adapter("qlora", 8, 16.0, _ATTENTION)),
    "lora-r2": Method(1e-3, adapter=Adapter("lora", 2, 4.0, _ATTENTION)),
    "lora-r32": Method(1e-3, adapter=Adapter("lora", 32, 64.0, _ATTENTION)),
    "lora-r4-ffn": Method(1e-3, adapter=Adapter("lora", 4, 8.0, _BOTH)),
}


@dataclass(frozen=True)
class Taught:
    """One method's run. weights: the whole recogniser's, for any runtime; share_pct: of its parameters that learnt;
    learnt_mb: what of it is kept beside the base; peak_rss_mb: of its process until the last step; added_mb: beside the
    ready process; by: commit, host and day of the run, which may be an earlier one.
    merge_error: how far scores are apart with the adapter within the weights and beside them, None without an adapter.
    """

    method: str
    rate: float
    learnt: Learnt
    weights: Path
    share_pct: float
    learnt_mb: float
    peak_rss_mb: float
    added_mb: float
    tried: Mapping[float, float] = field(
        default_factory=dict
    )  # learning rate -> lowest loss on validation clips
    by: str = ""
    merge_error: float | None = None


def trained(
    name: str, plan: Plan, folder: str | Path, source: str, *, rate: float = 0.0, threads: int = 2
) -> Taught:
    """The recogniser taught by one of `METHODS` in a fresh process, in its `home`; a finished run is read back, a
    stopped one goes on. source: `learnt_from` of the plan's clips; rate: another learning rate than the method's.
    SpeechError where the process fails.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    rate = rate or METHODS[name].rate
    plan = dataclasses.replace(plan, settings=dataclasses.replace(plan.settings, learning_rate=rate))
    own = home(name, plan, folder, source)
    if (finished := _finished(name, own, rate)) is not None:
        return finished
    log.info("teaching %s by %s", plan.system, name)
    arguments = {"name": name, "plan": dataclasses.asdict(plan), "folder": str(own), "threads": threads}
    done = process.call("lib.studies.recogniser:teach_here", arguments, threads=threads, timeout_s=36_000)
    by = f"{environment.commit()} on {environment.host()}, {date.today().isoformat()}"
    outcome = {**done.value, "plan": dataclasses.asdict(plan), "by": by}
    write_atomic(own / OUTCOME, json.dumps(outcome).encode())
    for checkpoint in own.glob("checkpoint-*"):  # hundreds of MB that nobody goes on from
        shutil.rmtree(checkpoint, ignore_errors=True)
    return _finished(name, own, rate)


def home(name: str, plan: Plan, folder: str | Path, source: str) -> Path:
    """Where a method's run by a plan lies: of other clips, of another base or for other steps it is another run."""
    key = content_key(_REVISION, name, dataclasses.asdict(METHODS[name]), dataclasses.asdict(plan), source)
    return Path(folder) / name / key[:8]


def learnt_from(system: str, clips: Data) -> str:
    """What a recogniser's runs begin with and learn from, by content."""
    return content_key(listening(system).weights_key(), clips_key(clips))


def teach_here(name: str, plan: dict[str, Any], folder: str, threads: int) -> dict[str, Any]:
    """The fresh process's part of `trained`, as JSON."""
    import torch

    torch.set_num_threads(threads)
    chosen, steps = Plan.of(plan), memory.Stretch()
    clips = data(chosen)
    learnt, kept_mb, error = teach(
        chosen.system, METHODS[name], clips, chosen.settings, folder, threads=threads, watch=steps
    )
    own, total = learnt.parameters
    return {
        "learnt": dataclasses.asdict(learnt),
        "share_pct": 100 * own / total,
        "learnt_mb": kept_mb,
        "added_mb": steps.added_mb,
        "peak_rss_mb": steps.peak_mb,
        "merge_error": error,
    }


def teach(
    system: str,
    method: Method,
    clips: Data,
    settings: Settings,
    folder: str | Path,
    *,
    threads: int = 2,
    watch: memory.Stretch | None = None,
) -> tuple[Learnt, float, float | None]:
    """Teach it here: (how it went, MB of what learnt, `merge_error`); its weights go into the folder. watch: of the
    memory that the steps take, without the loading before them and the writing of all weights behind.
    """
    recogniser = listening(system, threads=threads)
    model = prepare(recogniser.model, method, settings.seed)
    tools = {"extractor": recogniser.extractor, "tokenizer": recogniser.tokenizer}
    if watch:
        watch.begin()
    learnt = training.train(model, clips.train, clips.validation, settings, folder, **tools)
    if watch:
        watch.end()
    kept = sum(p.numel() * p.element_size() for p in checkpoints.learnt_state(model).values()) / 1e6
    finetuned.write(model, Path(folder) / WEIGHTS)
    total = sum(p.numel() for p in finetuned.plain(model).parameters())
    error = None
    if method.adapter is not None:
        example = recogniser_data.Clips(clips.validation[:1], window_s=settings.window_s, **tools)[0]
        error = merge_error(model, recogniser_data.collate([example]), settings.window_s)
    return dataclasses.replace(learnt, parameters=(learnt.parameters[0], total)), kept, error


def merge_error(
    model: transformers.WhisperForConditionalGeneration, batch: Mapping[str, Any], window_s: float
) -> float:
    """How far a network's scores of a batch are apart, at most, with its adapter within the weights and beside them;
    computed where the network is: it learnt on a GPU where there is one, and weights of 4 bits stay there.
    """
    import torch

    same, device = finetuned.plain(model), next(model.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    with recogniser_data.window(model, window_s), recogniser_data.window(same, window_s), torch.no_grad():
        return float((model.eval()(**batch).logits - same(**batch).logits).abs().max())


def prepare(
    model: transformers.WhisperForConditionalGeneration, method: Method, seed: int = 0
) -> transformers.WhisperForConditionalGeneration:
    """The network itself, with what is to learn asking for gradients."""
    if method.adapter is None:
        training.learn_part(model, method.part)
        return model
    return lora.adapt(model, dataclasses.replace(method.adapter, seed=seed))


def chosen(
    name: str,
    plan: Plan,
    folder: str | Path,
    source: str,
    *,
    factors: Sequence[float] = (1.0,),
    threads: int = 2,
) -> Taught:
    """The run, among those with the method's usual learning rate times each factor, that came to the lowest loss on
    validation clips; where that is at the edge of several, one more is tried beyond it. The losses of all are in its
    `tried`, infinite where a run diverged. Arguments as of `trained`.
    """
    if not factors or min(factors) <= 0:
        raise ParameterError(
            f"learning rates are tried as multiples of the usual one: {list(factors)} has none"
        )
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    usual = METHODS[name].rate
    arguments = (name, plan, folder, source, threads)
    runs = {rate: _attempt(rate, *arguments) for rate in dict.fromkeys(usual * factor for factor in factors)}
    if (further := beyond({rate: _loss(run) for rate, run in runs.items()})) is not None:
        runs[further] = _attempt(further, *arguments)
    tried = {rate: _loss(run) for rate, run in runs.items()}
    best = runs[min(tried, key=tried.get)]
    if isinstance(best, DivergedError):
        raise best
    return dataclasses.replace(best, tried=tried)


def _attempt(
    rate: float, name: str, plan: Plan, folder: str | Path, source: str, threads: int
) -> Taught | DivergedError:
    try:
        return trained(name, plan, folder, source, rate=rate, threads=threads)
    except DivergedError as error:
        log.warning("%s at a rate of %g: %s", name, rate, error)
        return error


def _loss(run: Taught | DivergedError) -> float:
    return run.learnt.best_loss if isinstance(run, Taught) else math.inf


def _finished(name: str, folder: Path, rate: float) -> Taught | None:
    path = folder / OUTCOME
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        learnt = kept["learnt"]
        learnt["curve"], learnt["parameters"] = tuple(learnt["curve"]), tuple(learnt["parameters"])
        return Taught(
            name,
            rate,
            Learnt(**learnt),
            folder / WEIGHTS,
            kept["share_pct"],
            kept["learnt_mb"],
            kept["peak_rss_mb"],
            kept["added_mb"],
            by=kept["by"],
            merge_error=kept["merge_error"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} cannot be read ({error!r}): delete {folder}, and train anew") from error


def listening(system: str, target: str = "torch/cpu", threads: int = 2) -> Recogniser:
    """A recogniser as it comes: one of `systems.names("recogniser")`, or a Whisper of the hub or of a folder."""
    from lib import systems

    if system in systems.names("recogniser"):
        return systems.load(system, target=target, threads=threads)
    from lib.systems.whisper import HubWhisper

    if not target.startswith("torch/"):
        raise ParameterError(
            f"{system} runs on torch here: for {target} convert it, by ct2-transformers-converter or optimum-cli"
        )
    return HubWhisper(system, target, threads)
