"""`hifigan`: how well can a waveform be rebuilt from its mel spectrogram? A vocoder of our own, with the losses
of HiFi-GAN.

Kong et al. 2020, arXiv:2010.05646. Two generators:

- the decoder of `vits-joe` (a HiFi-GAN of type-2 residual blocks that upsamples 192 latents by 8 * 8 * 4),
  behind a small network that finds the latents of a log-mel spectrogram. It starts with a voice instead of with
  noise, so an hour on one core suffices. Two of the latents' directions carry where in the glottal cycle a
  frame begins, which no mel spectrogram shows: the mean over all phases makes the decoder pulse once a frame,
  at 86 Hz, whatever the pitch. So a second network reads F0 in the mel, and its integral, the phase, goes into
  the front beside the mel (as the sine source does in neural source-filter models, Wang et al. 2019, arXiv:1904.12088);
- transformers' `SpeechT5HifiGan` in the published V1 layout, for a GPU.

How they are trained is in `lib.training.tasks.hifigan`, the discriminators are in `hifigan_discriminators.py`.

`config.py` has the sizes, `network.py` the networks, `vocoder.py` the finished vocoder on torch; `export.py` makes
graphs of it, and `stages.py` runs them, without torch.
"""

from __future__ import annotations

from lib.systems import lazily

_PLACES = {
    **dict.fromkeys(("HifiGan", "pretrained"), "vocoder"),
    **dict.fromkeys(("GENERATORS", "GeneratorConfig"), "config"),
    **dict.fromkeys(("PARTS", "save"), "parts"),
    **dict.fromkeys(
        ("ConvNeXtBlock", "MelReader", "source", "read_pitch", "read_source", "build", "decode"), "network"
    ),
    **dict.fromkeys(("MEL_MEAN", "MEL_SCALE"), "network"),
}
__getattr__, __all__ = lazily.parts(__name__, _PLACES)
