"""`hibari-vocoder`: how does a guessed mel become the speech of `hibari` itself? By the decoder of that voice, behind a
small network that finds in the mel what the decoder is fed.

`istft` is true to its mel, so one hears what an acoustic model was unsure of. Here the decoder of `hibari` makes the
sound, of what a network makes of the mel, and hides most of that. It is fed 128 numbers of each phoneme, held as long
as the phoneme lasts, and pitch and loudness; all the movement of speech is its own. Those 130 numbers are regressed
from mels, true and guessed ones, and nothing else is learnt: the decoder stays as published (Apache-2.0), in 8 bits on
ONNX Runtime. `hifigan` is made so for the voice of `vits-joe`; like it, this one says every mel in one voice.

What the mel says of the words would be followed too loosely so: of fastspeech2's mels the recogniser missed 5.8 % of
the words of 16 validation sentences, where it misses 3.3 % through `istft`. So what comes out is held to the mel, as
`istft`'s copies are, half way (`following`): 4.1 %, at a predicted MOS of 4.45 instead of 4.48 (4.04 through `istft`).

`config.py` has the sizes, `published.py` takes the decoder out of the package, `signal.py` is what lies around the
networks (frames of 80 Hz, pitch, the package's own synthesis), `network.py` the networks on torch, `vocoder.py` and
`stages.py` the finished vocoder on torch and on ONNX Runtime; `lib.training.tasks.hibari_vocoder` trains it.
"""

from __future__ import annotations

from lib.systems import lazily

_PLACES = {
    "HibariVocoder": "vocoder",
    "HibariVocoderOnnx": "stages",
    "HibariVocoderConfig": "config",
    **dict.fromkeys(("PARTS", "save"), "parts"),
}
__getattr__, __all__ = lazily.parts(__name__, _PLACES)
