"""The measured context and stride of networks are the sums over their layers."""

import pytest

import gp_arrays as gpa

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

import networks  # noqa: E402

from gp_arrays.train.measure import measure_context  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def conv(size, **options):
    return torch.nn.Conv2d(1, 1, size, **options)


@pytest.mark.parametrize(
    ("network", "context", "stride", "shrinks"),
    [
        (lambda: torch.nn.Sequential(conv(3), torch.nn.ReLU(), conv(5)), (3, 3), (1, 1), (6, 6)),
        (lambda: conv((1, 7)), (0, 3), (1, 1), (0, 6)),
        (lambda: conv(3, dilation=3, padding=3), (3, 3), (1, 1), (0, 0)),
        (lambda: torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Upsample(scale_factor=4)), (3, 3), (4, 4), (0, 0)),
        (lambda: torch.nn.Sequential(torch.nn.MaxPool2d(8), torch.nn.Upsample(scale_factor=8)), (7, 7), (8, 8), (0, 0)),
        (
            lambda: torch.nn.Sequential(torch.nn.MaxPool2d((1, 2)), torch.nn.Upsample(scale_factor=(1, 2))),
            (0, 1),
            (1, 2),
            (0, 0),
        ),
        # 3x3, pool, 3x3, up, 3x3: at most 1 + (1 + 2) + 1 on the side where the pool begins a voxel earlier
        (lambda: networks.unet(dims=2), (5, 5), (2, 2), (8, 8)),
        (lambda: networks.unet(dims=2, padding=1), (5, 5), (2, 2), (0, 0)),
    ],
)
def test_the_context_of_several_layers(network, context, stride, shrinks):
    measured = measure_context(network(), dims=2)
    assert (measured.context, measured.stride, measured.shrinks) == (context, stride, shrinks)


def test_a_network_of_three_axes():
    measured = measure_context(networks.unet())
    assert (measured.context, measured.stride) == ((5, 5, 5), (2, 2, 2))


@pytest.mark.parametrize("network", [lambda: torch.nn.InstanceNorm2d(1), lambda: torch.nn.AdaptiveAvgPool2d(4)])
def test_a_network_that_reads_everything_is_refused(network):
    with pytest.raises(gpa.ComputeError, match="up to 320 voxels"):
        measure_context(torch.nn.Sequential(conv(3), network()), dims=2)
