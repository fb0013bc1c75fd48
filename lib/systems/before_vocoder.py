"""What do all systems share that make a mel spectrogram and leave the waveform to a vocoder, whatever they run on?"""

from __future__ import annotations

import copy
import dataclasses
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib import systems, targets, zoo
from lib.errors import ParameterError, unknown
from lib.features import MelConfig
from lib.files import content_key
from lib.systems import checkpoint, postfilter, symbols
from lib.systems.base import Speech, Stopwatch, System, Vocoder
from lib.systems.griffin_lim import GriffinLim
from lib.systems.model import Part

USUAL = "vits-joe"  # whose voice a system speaks with that knows it
VOCODER = "vocoder."  # before the names of the vocoder's networks in `modules`, and of its graphs
CHUNK = 32  # frames of the mel that a vocoder is given at a time where it streams, 0.37 s


@dataclass(frozen=True)
class Spectrogram:
    """What a vocoder makes a sentence of: log_mel (F, n_bands); the rest as in `Speech`."""

    log_mel: np.ndarray
    phones: tuple[str, ...]
    frames: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    nfe: int | None = None


class BeforeVocoder(System):
    """A system that makes a mel spectrogram before a vocoder, whose networks follow in `modules` as "vocoder.<name>",
    or whose graphs do, where it runs on ONNX Runtime.

    Subclasses load what they are made of, then `_begin`, and say how they read. vocoder: a loaded one for the system's
    mel, of which it takes a copy; without one Griffin-Lim speaks and the variant says so. speaker: one of `speakers`,
    by default the first.
    """

    checkpoints: checkpoint.Kind  # how its networks lie on disk
    manner: str = ""  # the attribute with how it speaks: a frozen dataclass, each field of which is a setting
    mel: MelConfig  # of the spectrograms it makes
    folder: Path  # of its checkpoint
    speakers: tuple[str, ...]
    sharpness: float = 0.0  # how far the movement of its mels is raised to that of speech (`postfilter`), to 1
    packages = (*System.packages, "librosa")  # Griffin-Lim's
    _table: np.ndarray | None = None  # of the postfilter, where it is in use

    def _begin(
        self, vocoder: Vocoder | None, speaker: str | None, variant: str | None, manner: dict[str, Any]
    ) -> None:
        """The last step of loading."""
        symbols.of("a")  # eSpeak is loaded on first use; load it here, not inside a measurement
        self.sample_rate = self.mel.sample_rate
        self.variant = variant or ("baseline" if vocoder else GriffinLim.name)
        self.speaker = self._speaker(speaker)
        self.take(vocoder or GriffinLim(self.mel))
        self.configure(**manner)

    @abstractmethod
    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """The mel of one sentence; the watch is told of each stage."""

    @property
    def streams(self) -> bool:
        return self.vocoder.streams

    def speak(self, sentence: str, seed: int) -> Speech:
        """One sentence. The seed draws what the acoustic model draws, and Griffin-Lim's first phases."""
        watch = self._watch()
        said = self.spectrogram(sentence, seed, watch)
        with watch.stage("vocoder"):
            waveform = self.vocoder.vocode(self._sharpened(said.log_mel), seed)
        return Speech(waveform, self.sample_rate, watch.seconds, said.phones, said.frames, said.notes, said.nfe)

    def pieces(self, sentence: str, seed: int) -> Iterator[np.ndarray]:
        """The mel comes all at once, the waveform CHUNK frames at a time, held to no mel, where the vocoder streams."""
        if not self.streams:
            yield from super().pieces(sentence, seed)
            return
        log_mel = self._sharpened(self.spectrogram(sentence, seed, self._watch()).log_mel)
        yield from self.vocoder.stream(log_mel[begin : begin + CHUNK] for begin in range(0, len(log_mel), CHUNK))

    def settings(self) -> dict[str, Any]:
        """The speaker, which vocoder speaks, where it runs if that is elsewhere, and the fields of `manner`."""
        own = dataclasses.asdict(getattr(self, self.manner)) if self.manner else {}
        elsewhere = self.vocoder.target != self.target and self.vocoder.name != GriffinLim.name
        where = {"vocoder_target": self.vocoder.target} if elsewhere else {}
        return {
            "speaker": self.speaker,
            "sharpness": self.sharpness,
            "vocoder": self.vocoder.name,
            **where,
            **self.vocoder.settings(),
            **own,
        }

    def configure(
        self,
        *,
        speaker: str | None = None,
        sharpness: float | None = None,
        vocoder: str | None = None,
        vocoder_target: str | None = None,
        **others: Any,
    ) -> None:
        """speaker: one of `speakers`; sharpness: from 0 to 1, see `postfilter`; vocoder: the name of one that
        `lib.systems` loads, by default the one there is, unless that says every mel in another speaker's voice;
        vocoder_target: where it runs, by default where the acoustic model does; others: fields of `manner`, settings of
        the vocoder.
        """
        own = getattr(self, self.manner) if self.manner else None
        names = {field.name for field in dataclasses.fields(own)} if self.manner else set()
        changes = {name: others.pop(name) for name in names & others.keys()}
        if speaker is not None:
            self.speaker = self._speaker(speaker)
            vocoder = vocoder or self._voice_of(speaker)
        other = vocoder is not None and vocoder != self.vocoder.name
        if other or vocoder_target not in (None, self.vocoder.target):
            vocoder, target = vocoder or self.vocoder.name, vocoder_target or self.target
            plain = vocoder == GriffinLim.name
            self.take(
                GriffinLim(self.mel) if plain else systems.load(vocoder, target=target, threads=self.threads)
            )
        theirs = {name: others.pop(name) for name in self.vocoder.settings().keys() & others.keys()}
        self.vocoder.configure(**theirs)
        super().configure(**others)
        if sharpness is not None or (speaker is not None and self.sharpness):
            self._sharpen(self.sharpness if sharpness is None else postfilter.checked(sharpness))
        if changes:
            setattr(self, self.manner, dataclasses.replace(own, **changes))

    def adjusted(self, *, variant: str | None = None, **settings: Any) -> "BeforeVocoder":
        """As of every model; another vocoder runs where the acoustic model does, whatever the last one ran on. The one
        that a speaker wants is named, so that whoever makes this model anew takes it, too.
        """
        if "speaker" in settings and "vocoder" not in settings:
            if wanted := self._voice_of(self._speaker(settings["speaker"])):
                settings["vocoder"] = wanted
        named = "vocoder_target" in (self.origin or {}).get("settings", {})
        if named and settings.get("vocoder", self.vocoder.name) != self.vocoder.name:
            settings.setdefault("vocoder_target", self.target)
        return super().adjusted(variant=variant, **settings)

    def take(self, vocoder: Vocoder) -> None:
        """Speak through a copy of another vocoder from now on. ParameterError where it wants another mel."""
        if vocoder.mel != self.mel:
            raise ParameterError(
                f"the vocoder {vocoder.name} wants another mel than the one that {self.name} of {self.folder} makes: "
                f"take one of {self.mel.sample_rate} Hz that was made for it, or none"
            )
        modules, graphs = copy.deepcopy(dict(vocoder.modules)), dict(vocoder.graphs)
        self.vocoder = copy.copy(vocoder)
        self.vocoder.expect_predicted()
        self._bind()
        self.vocoder.modules.clear()
        self.vocoder.graphs.clear()
        self.vocoder.modules.update(modules)
        self.vocoder.graphs.update(graphs)
        runs = targets.find(vocoder.target).packages if vocoder.target != self.target else ()
        self.packages = tuple(dict.fromkeys((*type(self).packages, *vocoder.packages, *runs)))
        self.front_end = (*symbols.files(), *self._sharpened_by())
        self.files = (*checkpoint.files(self.folder), *vocoder.files, *self.front_end)

    @property
    def card(self) -> str:
        """What the checkpoint is (Markdown)."""
        return checkpoint.card(self.folder)

    def _copy_networks(self) -> None:
        super()._copy_networks()
        self.vocoder = copy.copy(self.vocoder)
        self._bind()

    def _bind(self) -> None:
        """Let the vocoder speak with the networks and graphs of this system."""
        self.vocoder.modules, self.vocoder.graphs = Part(self.modules, VOCODER), Part(self.graphs, VOCODER)

    def _changed(self) -> None:
        self.vocoder._changed()

    def _sharpen(self, strength: float) -> None:
        """MissingDataError where nobody has counted by how much in this voice."""
        others = [tuple(f for f in files if f not in self._sharpened_by()) for files in (self.front_end, self.files)]
        self._table = postfilter.load(self.folder, self.speaker) if strength else None
        self.sharpness = strength
        self.front_end, self.files = ((*files, *self._sharpened_by()) if files else () for files in others)

    def _sharpened_by(self) -> tuple[Path, ...]:
        return (self.folder / postfilter.FILE,) if self.sharpness else ()

    def fingerprint(self) -> str:
        """As of every model; the table that its mels are sharpened by decides what it does, too."""
        whole = super().fingerprint()
        return whole if self._table is None else content_key(whole, postfilter.REVISION, self._table.tobytes())

    def _speaker(self, name: str | None) -> str:
        if name is not None and name not in self.speakers:
            raise unknown(f"speaker of {self.folder}", name, self.speakers)
        return name or self.speakers[0]

    def _watch(self) -> Stopwatch:
        return Stopwatch()

    def _sharpened(self, log_mel: np.ndarray) -> np.ndarray:
        """(F, n_bands) in and out."""
        if self._table is None:
            return log_mel
        return postfilter.sharpened(log_mel, self._table, self.sharpness)

    def _voice_of(self, speaker: str) -> str | None:
        """The vocoder that a speaker wants in place of one that knows somebody else alone; None: this one will do."""
        own = systems.OWN_VOCODERS
        strange = self.vocoder.name in own.values() and own.get(speaker) != self.vocoder.name
        return own.get(speaker, "istft") if strange else None

    def _known(self, sentence: str) -> tuple[str, ...]:
        """The symbols of a sentence that its network knows."""
        return tuple(phone for phone in symbols.of(sentence) if symbols.known(phone))

    @classmethod
    def pretrained(
        cls, target: str = "torch/cpu", threads: int = 2, checkpoint: str | Path | None = None
    ) -> "BeforeVocoder":
        """A checkpoint, by default that of `lib.zoo`, before the zoo's vocoder, in the voice of `vits-joe` if
        it has it.
        """
        vocoder = systems.load("hifigan", target=target, threads=threads)
        system = cls(checkpoint or zoo.folder(cls.name), vocoder=vocoder, target=target, threads=threads)
        if USUAL in system.speakers:
            system.speaker = USUAL
        return system
