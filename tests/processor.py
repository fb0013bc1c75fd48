"""What can this processor not do that a test asks for?"""

import pytest

from lib import environment

_FLAGS = environment.cpu_flags()
# Without VNNI, ONNX Runtime adds products of 8 bits in pairs that overflow 16: its int8 graphs say something else.
needs_sums_of_eight_bits = pytest.mark.skipif(
    "avx2" in _FLAGS and not {"avx512_vnni", "avx_vnni"} & set(_FLAGS),
    reason="this processor adds products of 8 bits in 16 (AVX2 without VNNI): they overflow",
)
