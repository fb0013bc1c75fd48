"""Weights of few bits: what is packed comes back as the nearest that the format has, and packs to the same bytes."""

import pytest
import torch

from lib.errors import ParameterError
from lib.optimize import formats
from lib.optimize.formats import Format

ALL = [Format(name, group) for name in formats.LARGEST for group in (0, 4, 64)]
# Of the QLoRA paper (arXiv:2305.14314, appendix E).
NF4 = [
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
    *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
    *(
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ),
]


def test_the_levels_of_nf4_are_those_of_the_paper():
    assert formats.levels().tolist() == pytest.approx(NF4, abs=1e-6)


def test_codes_and_scales_of_a_row():
    weight = torch.tensor([[0.5, -1.0, 0.25, 0.0], [14.0, 1.1, -6.0, 3.9]])
    int8, int4, nf4 = (formats.pack(weight, Format(name, 4)) for name in ("int8", "int4", "nf4"))
    assert int8.codes.view(2, 4).tolist()[1] == [127, 10, -54, 35]  # in steps of 14 / 127
    assert int4.scales.tolist()[1] == 2.0 and nf4.scales.tolist() == [1.0, 14.0]
    assert int4.codes.tolist()[2:] == [(8 + 7) + 16 * (8 + 1), (8 - 3) + 16 * (8 + 2)]  # two codes to a byte
    assert formats.unpack(int4, Format("int4", 4), weight.shape)[1].tolist() == [14.0, 2.0, -6.0, 4.0]
    back = formats.unpack(nf4, Format("nf4", 4), weight.shape)[0].tolist()
    assert back == pytest.approx([NF4[12], -1.0, NF4[10], 0.0], abs=1e-6)


@pytest.mark.parametrize("form", ALL, ids=str)
@pytest.mark.parametrize("shape", [(3, 64), (5, 7, 3), (2, 130), (4, 1)])
@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1.0, 1e4])
def test_what_comes_back_packs_to_the_same_bytes(form, shape, scale):
    weight = scale * torch.randn(shape, generator=torch.Generator().manual_seed(1))
    packed = formats.pack(weight, form)
    back = formats.unpack(packed, form, weight.shape)
    again = formats.pack(back, form)
    assert back.shape == weight.shape and back.dtype == torch.float32
    assert torch.equal(again.codes, packed.codes) and torch.equal(again.scales, packed.scales)
    assert torch.equal(formats.rounded(back, form), back)


@pytest.mark.parametrize(("name", "bits", "least"), [("int8", 8, 40), ("int4", 4, 16), ("nf4", 4, 19)])
def test_bytes_and_signal_to_noise_ratio_of_normal_weights(name, bits, least):
    weight = torch.randn(256, 512, generator=torch.Generator().manual_seed(2))
    packed = formats.pack(weight, Format(name, 64))
    n_bytes = sum(part.numel() * part.element_size() for part in packed)
    assert n_bytes == weight.numel() * bits / 8 + weight.numel() / 64 * 2
    noise = formats.unpack(packed, Format(name, 64), weight.shape) - weight
    assert 10 * torch.log10(weight.square().sum() / noise.square().sum()) > least


def test_a_group_of_zeros_stays_zero():
    for form in ALL:
        assert not formats.rounded(torch.zeros(3, 10), form).any()


@pytest.mark.parametrize(
    ("form", "says"),
    [(Format("int3"), "unknown format of weights 'int3'"), (Format("int4", 3), "a group of 3 weights")],
)
def test_unknown_formats_are_named(form, says):
    with pytest.raises(ParameterError, match=says):
        formats.check(form)
