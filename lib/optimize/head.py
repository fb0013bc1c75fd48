"""`vits-joe` with another head: a vocoder at the frame rate where its decoder was, the variant `istft`.

    make(systems.load("vits-joe", target="onnxruntime/cpu"), "istft-head", variant="istft", latents=A, vocoder=B)

Folder A holds a reader (params/study/recipes/vits-joe-reader.yaml trains it), B the vocoder that learnt that reader's
mels (istft-head.yaml).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.errors import ParameterError
from lib.optimize.variant import Technique
from lib.systems.vits_joe import head, reader
from lib.training import sources

if TYPE_CHECKING:
    from lib.systems.model import Model

DECODER = "decoder"


def apply(system: Model, *, latents: str, vocoder: str) -> dict[str, float]:
    """Put a reader and a vocoder where the decoder was; each of `lib.zoo`, or a folder. Says how many parameters, in
    10^6, gave way to how many.
    """
    before = system.params_m
    if DECODER in system.graphs:
        system.graphs |= head.graphs(sources.start(latents), sources.start(vocoder))
        del system.graphs[DECODER]
    else:
        _structure(system, latents=latents, vocoder=vocoder)
        _, loaded = reader.PARTS.load(sources.start(latents))
        from lib.systems.istft import PARTS

        _, parts = PARTS.load(sources.start(vocoder))
        for name, network in (loaded | parts).items():
            getattr(system.modules[DECODER], name).load_state_dict(network.state_dict())
    return {"params_m_before": round(before, 3)}


def _structure(system: Model, *, latents: str, vocoder: str) -> None:
    if system.name != "vits-joe" or DECODER not in system.modules:
        raise ParameterError(f"{system.name} on {system.target} has no decoder of latents: give vits-joe")
    from lib.systems.istft import PARTS

    sizes, config = reader.PARTS.arrays(sources.start(latents))[0], PARTS.arrays(sources.start(vocoder))[0]
    system.modules[DECODER] = head.network(sizes, config).to(system.device)


ISTFT_HEAD = Technique("istft-head", apply, _structure)
