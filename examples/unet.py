"""A small U-Net: one pooling by 2. Its result is 8 voxels smaller than its input on each side."""

from pathlib import Path

import torch

import gp_arrays as gpa
from gp_arrays.cli.sample import make_sample


def double(channels_in, channels_out):
    return torch.nn.Sequential(
        torch.nn.Conv3d(channels_in, channels_out, 3),
        torch.nn.ReLU(),
        torch.nn.Conv3d(channels_out, channels_out, 3),
        torch.nn.ReLU(),
    )


class UNet(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.left = double(1, channels)
        self.bottom = double(channels, 2 * channels)
        self.right = double(3 * channels, channels)
        self.head = torch.nn.Conv3d(channels, 1, 1)

    def logits(self, voxels):
        left = self.left(voxels)
        bottom = torch.nn.functional.interpolate(self.bottom(torch.nn.functional.max_pool3d(left, 2)), scale_factor=2)
        for axis in (2, 3, 4):
            left = left.narrow(axis, (left.shape[axis] - bottom.shape[axis]) // 2, bottom.shape[axis])
        return self.head(self.right(torch.cat([left, bottom], 1)))

    def forward(self, voxels):
        return torch.sigmoid(self.logits(voxels))


def unet(channels=6):
    """What ``model="unet:unet"`` calls."""
    return UNet(channels)


def untrained(folder):
    """A prediction to try things on: of an invented volume, with weights that nobody has trained."""
    torch.set_num_threads(1)
    tree = make_sample(Path(folder) / "sample", (64, 96, 96))
    torch.manual_seed(0)
    torch.save(unet().state_dict(), Path(folder) / "weights.pt")
    return gpa.PredictArrayConfig(
        "prediction",
        tree["normalized"],
        model="unet:unet",
        checkpoint=Path(folder) / "weights.pt",
        tile_size=(320, 320, 320),
        context_size=(64, 64, 64),
        stride=(16, 16, 16),
    )
