"""ExecuTorch in its own Python: in 8 bit it computes nearly what PyTorch computes, also what is padded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib import deploy, targets
from lib.deploy import apart, export, job, stages
from lib.errors import SpeechError

TARGET = targets.find("executorch/cpu")


class Causal(nn.Module):
    """What a vocoder's trunk is made of: a convolution, one that sees nothing to come, a residual, a linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv1d(6, 16, 3, padding=1)
        self.depthwise = nn.Conv1d(16, 16, 5, groups=16)
        self.linear = nn.Linear(16, 4)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:  # (1, 6, F) -> (1, F, 4)
        hidden = self.first(frames)
        hidden = hidden + self.depthwise(F.pad(hidden, (4, 0)))
        return self.linear(F.leaky_relu(hidden, 0.1).transpose(1, 2))


def a_stage(n_calibration: int) -> stages.Stage:
    rng = np.random.default_rng(0)
    sets = [(rng.standard_normal((1, 6, 48)).astype(np.float32),) for _ in range(1 + n_calibration)]
    return stages.Stage("made", "trunk", Causal().eval(), sets[0], tuple(sets[1:]), 0.5, 48)


def asked(folder, precision: str) -> job.Job:
    return job.Job(str(folder), TARGET.name, precision, 1, {}, True, TARGET.python.parent.parent.name)


@pytest.fixture
def installed():
    if not TARGET.installed:
        pytest.skip("./run_all.sh quick --only 06 --set npu=install")


def test_it_has_8_bit_of_the_form_that_it_reads():
    assert deploy.precisions("executorch/cpu") == ("fp32", "int8")
    assert deploy.reads("executorch/cpu", "int8") == ("npu.pt2",)


@pytest.mark.slow
def test_8_bit_is_near_to_pytorch_and_another_file_than_single_precision(installed, tmp_path):
    folder, snr = export.write(a_stage(2), tmp_path, ["npu.pt2"]), {}
    for precision in deploy.precisions(TARGET.name):
        with apart.Worker(asked(folder, precision), timeout_s=300) as worker:
            assert worker.detail["threads_found"] == 1
            snr[precision] = export.snr_db(export.expected(folder)[0], worker.outputs[0])
    assert snr["fp32"] > 90 and 25 < snr["int8"] < 60, snr
    made = {path.name for path in (folder / "made").rglob("*.pte")}
    assert made == {"stage-fp32.pte", "stage-int8.pte"}


@pytest.mark.slow
def test_without_examples_there_are_no_scales(installed, tmp_path):
    folder = export.write(a_stage(0), tmp_path, ["npu.pt2"])
    with pytest.raises(SpeechError, match="fixed scales need inputs to be set by"):
        apart.Worker(asked(folder, "int8"), timeout_s=300)
