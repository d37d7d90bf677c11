"""Small networks for tests, and where their weights come from."""

import torch


class UNet(torch.nn.Module):
    """One pooling by 2. It reads 5 voxels on each side, and its result moves in steps of 2."""

    def __init__(self, dims=3, in_channels=1, out_channels=2, padding=0):
        super().__init__()
        conv, pool = getattr(torch.nn, f"Conv{dims}d"), getattr(torch.nn, f"MaxPool{dims}d")
        self.left = conv(in_channels, 4, 3, padding=padding)
        self.pool = pool(2)
        self.bottom = conv(4, 4, 3, padding=padding)
        self.up = torch.nn.Upsample(scale_factor=2)
        self.right = conv(8, out_channels, 3, padding=padding)

    def forward(self, voxels):
        left = torch.relu(self.left(voxels))
        bottom = self.up(torch.relu(self.bottom(self.pool(left))))
        for axis in range(2, left.ndim):
            surplus = left.shape[axis] - bottom.shape[axis]
            left = left.narrow(axis, surplus // 2, bottom.shape[axis])
        return torch.sigmoid(self.right(torch.cat([left, bottom], 1)))


def unet(seed=0, **options):
    torch.manual_seed(seed)
    return UNet(**options)


class Wrong(torch.nn.Module):
    """Returns results that no array can hold."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, voxels):
        if self.kind == "fails":
            raise RuntimeError("out of\nmemory")
        return {"tuple": (voxels, voxels), "larger": voxels[..., 1:], "nan": voxels / 0}[self.kind]


def wrong(kind):
    return Wrong(kind)


def no_network():
    return 5


class Pooling(torch.nn.Module):
    """The mean of boxes of 2 voxels along each axis, which begin where the input begins; and its negative."""

    def forward(self, voxels):
        pooled = torch.nn.functional.avg_pool2d(voxels, 2)
        result = torch.nn.functional.interpolate(pooled, scale_factor=2)
        return torch.cat([result, -result], 1)


def pooling():
    return Pooling()
