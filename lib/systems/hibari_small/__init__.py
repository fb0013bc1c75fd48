"""`hibari-small`: how small may the voice of `hibari` be before anybody hears it? A student of the whole network.

The text is read by the package's own front end; phonemes become 128 numbers each and a length (`Encoder`), and from
those, held for as long as each lasts, pitch, loudness and the five spectra that the package's synthesis is fed
(`Decoder`). All of it learns by plain regression on what the published graph says of the same sentence: what that
makes of a text is one thing, not one of many, so nothing is blurred by learning a mean. Encoder and prosody begin from
random weights, the decoder as four of the teacher's eight blocks (Apache-2.0), which without the others are still a
voice.

`config.py` has the sizes, `network.py` the networks on torch, `signal.py` what lies around them (lengths, and the
synthesis of the package frame by frame), `speaking.py` how a sentence is said, all at once or while it is still made,
`voice.py` and `stages.py` the system on torch and on ONNX Runtime.
"""

from lib.systems.hibari_small.config import HibariSmallConfig
from lib.systems.hibari_small.parts import PARTS

__all__ = ["PARTS", "HibariSmallConfig"]
