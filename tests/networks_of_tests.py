"""Networks of kinds that users have, right and wrong."""

import torch


def _network(function):
    class Network(torch.nn.Module):
        def forward(self, voxels):
            return function(voxels)

    return Network()


def pooling_by_4():
    return torch.nn.Sequential(torch.nn.MaxPool2d(4), torch.nn.Upsample(scale_factor=4))


def finer():
    return torch.nn.Upsample(scale_factor=2)


def bfloat16():
    return _network(lambda voxels: voxels.bfloat16())


def identity():
    return torch.nn.Identity()


def linear():
    return torch.nn.Linear(16, 16)


def mapping():
    return _network(lambda voxels: {"result": voxels})


def no_channels():
    return _network(lambda voxels: voxels[:, 0])


def threads():
    """The result is the number of threads that the network may use."""
    return _network(lambda voxels: torch.full_like(voxels, torch.get_num_threads()))


def raises():
    raise ValueError("no such\nnetwork")
