"""Numbers on the CPU; those of a CUDA device are read in tests/birdclef/test_cuda.py."""

import torch

from birdclef.devices.host_copy import HostCopy


def test_number_of_the_host_is_itself() -> None:
    assert HostCopy(torch.tensor(2.5)).value() == 2.5
    assert HostCopy(torch.tensor(7)).value() == 7.0
