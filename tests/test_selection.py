"""A selection is what its names say, and a name that is nowhere is an error."""

import pytest
import torch
from torch import nn

from lib.errors import ParameterError
from lib.optimize import selection
from lib.systems.model import Model


class Small(Model):
    """Two stages, one of which is a single layer, as the head of the recogniser."""

    name, target, sample_rate = "small", "torch/cpu", 16_000

    def __init__(self):
        torch.manual_seed(0)
        convs = nn.ModuleList([nn.Conv1d(4, 4, 3), nn.Conv1d(4, 4, 3)])
        body = nn.ModuleDict(
            {"pre": nn.Linear(4, 4), "convs": convs, "norm": nn.LayerNorm(4), "up": nn.Linear(4, 4)}
        )
        self.modules = {"body": body, "head": nn.Linear(4, 2)}


KINDS = ("Linear", "Conv1d")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["body/pre", "body/convs.0", "body/convs.1", "body/up", "head/"]),
        ({"stages": ["head"]}, ["head/"]),
        ({"types": ["Conv1d"]}, ["body/convs.0", "body/convs.1"]),
        ({"layers": ["convs.*"], "skip": ["body/convs.0"]}, ["body/convs.1"]),
        ({"layers": ["head/", "*.1"]}, ["body/convs.1", "head/"]),
        ({"skip": ["body/*"]}, ["head/"]),
    ],
)
def test_a_selection_is_what_its_names_say(wanted, names):
    assert selection.layers(Small(), KINDS, **wanted) == names


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"stages": ["hea"]}, "unknown network of small on torch/cpu 'hea': did you mean 'head'"),
        ({"types": ["Conv2d"]}, "unknown type of layer for this technique 'Conv2d': did you mean 'Conv1d'"),
        ({"layers": ["conv.0"]}, "'conv.0' matches none of the 6 layers of small on torch/cpu; one is called"),
        ({"skip": ["nothing*"]}, "matches none"),
        ({"stages": ["head"], "types": ["Conv1d"]}, "nothing is selected in small on torch/cpu: of Conv1d"),
        ({"skip": ["*"]}, "none left"),
        ({"stages": "head"}, "'head' is one name: give a list"),
    ],
)
def test_what_is_nowhere_is_an_error(wanted, says):
    with pytest.raises(ParameterError, match=says):
        selection.layers(Small(), KINDS, **wanted)


def test_a_layer_is_replaced_where_it_stands():
    small, other = Small(), nn.Linear(4, 4)
    for name in ("body/pre", "body/convs.1", "head/"):
        assert selection.layer(small, name) is selection.weighted(small)[name]
        selection.replace(small, name, other)
        assert selection.layer(small, name) is other
    assert small.modules["head"] is small.modules["body"]["convs"][1] is other
