"""Zeros save bytes where a file is compressed or leaves them out, and time hardly anywhere: numbers and sentences."""

import json

import pytest
import torch
from torch import nn

from lib import optimize, results
from lib.studies import zeros
from lib.systems.model import Model


class Small(Model):
    """A system of two Linear layers."""

    name, target, threads = "speecht5", "torch/cpu", 1
    kind = "speech"

    def __init__(self):
        torch.manual_seed(0)
        self.modules = {"acoustic_model": nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64))}
        self.origin = {"system": "speecht5", "target": "torch/cpu", "settings": {}, "variant": "baseline"}


@pytest.fixture
def table(tmp_path):
    run = results.Run("04_pruning_quantization", tmp_path / "outputs")
    zeros.written(run, Small(), tmp_path, passes=2)
    return results.read(run.path)


def test_zeros_are_weighed_and_timed(table):
    sizes = table[table.metric == "size_mb"].set_index("variant").value
    assert sizes["pruned-30@linear"] == pytest.approx(sizes["baseline@linear"], rel=0.01)
    assert sizes["pruned-70-zip@linear"] < sizes["pruned-30-zip@linear"] < 0.9 * sizes["pruned-30@linear"]
    assert sizes["baseline-zip@linear"] > 0.9 * sizes["baseline@linear"]
    assert sizes["pruned-70-csr@linear"] < 0.6 * sizes["pruned-70@linear"]  # 6 bytes for 3 weights of 10
    assert sizes["pruned-30-csr@linear"] > sizes["pruned-70-csr@linear"]
    gains = table[table.metric == "speedup"].set_index("variant")
    assert set(gains.index) == {
        f"{kind}@linear" for kind in ("pruned-30-csr", "structured-30", "pruned-70-csr", "structured-70")
    }
    assert (gains.value > 0).all() and json.loads(gains.detail["structured-30@linear"])["layers"] == 2
    assert gains.baseline["pruned-70-csr@linear"] == "pruned-70@linear"


def test_the_sentences_are_of_the_numbers(table):
    said = zeros.finding(table)
    assert len(said) == 2 and said[1].startswith("With 70 % of its Linear weights zero speecht5 has ")
    assert (
        f"{1 / table[table.variant == 'structured-70@linear'].value.item():.2f} times where whole rows"
        in said[1]
    )
    assert zeros.finding(table[table.metric != "speedup"]) == [] and zeros.finding(results.frame([])) == []


def test_every_kind_is_given_the_same_in_turns():
    seen = []

    class Noting(nn.Linear):
        def __init__(self, kind):
            super().__init__(4, 2)
            self.kind = kind

        def forward(self, inputs):
            seen.append((self.kind, tuple(inputs.shape)))
            return super().forward(inputs)

    kinds = {kind: [Noting(kind), Noting(kind)] for kind in ("dense", "csr")}
    spent = zeros.in_turns(kinds, 3, passes=2)
    assert set(spent) == {"dense", "csr"} and min(spent.values()) > 0
    assert len(seen) == 12 and {shape for _, shape in seen} == {(3, 4)}
    assert [kind for kind, _ in seen[:2]] != [kind for kind, _ in seen[4:6]]  # who goes first changes


def test_of_two_layers_asked_for_the_one_that_changed_is_counted(tmp_path):
    base = Small()
    with torch.no_grad():
        base.modules["acoustic_model"][2].weight.zero_()  # nothing is left there to be taken
    made = optimize.make(base, "pruned", share=0.3, types=["Linear"])
    assert (made.made["changed"]["layers"], made.made["changed"]["of"]) == (1, 2)
