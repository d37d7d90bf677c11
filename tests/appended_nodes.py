"""Nodes that tests append to a pipeline: what a prediction looks like, without a network."""

import gunpowder as gp
import numpy as np


class Mean(gp.BatchFilter):
    """The mean of a voxel and its neighbours along x, and its negative, as two channels."""

    def __init__(self, source, target, reach, scale=1.0):
        self.source, self.target, self.reach, self.scale = source, target, gp.Coordinate(reach), scale

    def setup(self):
        spec = self.spec[self.source].copy()
        spec.dtype = np.float32
        spec.roi = spec.roi.grow(-self.reach, -self.reach)
        self.provides(self.target, spec)

    def prepare(self, request):
        deps = gp.BatchRequest()
        deps[self.source] = gp.ArraySpec(roi=request[self.target].roi.grow(self.reach, self.reach))
        return deps

    def process(self, batch, request):
        data = batch[self.source].data.astype(np.float32)
        mean = (data[..., :-2] + data[..., 1:-1] + data[..., 2:]) / 3 * self.scale
        spec = self.spec[self.target].copy()
        spec.roi = request[self.target].roi
        result = gp.Batch()
        result[self.target] = gp.Array(np.stack([mean, -mean]), spec)
        return result


def add_mean(pipeline, source, target, reach=4, scale=1.0):
    return pipeline + Mean(source, target, (0, reach), scale)


def add_padded_mean(pipeline, source, target):
    return pipeline + gp.Pad(source, gp.Coordinate((0, 4)), mode="constant", value=0) + Mean(source, target, (0, 4))


def add_greedy(pipeline, source, target):
    return pipeline + Mean(source, target, (0, 400))


class Sized(gp.BatchFilter):
    """Every second voxel along each axis (``finer`` false), or each voxel twice. It reads complete voxels."""

    def __init__(self, source, target, finer):
        self.source, self.target, self.finer = source, target, finer

    def setup(self):
        spec = self.spec[self.source].copy()
        self.given = spec.voxel_size
        spec.voxel_size = self.given / 2 if self.finer else self.given * 2
        self.both = self.given if self.finer else spec.voxel_size
        assert spec.roi == spec.roi.snap_to_grid(self.given)
        spec.roi = spec.roi.snap_to_grid(self.both, mode="shrink")
        self.provides(self.target, spec)

    def prepare(self, request):
        roi = request[self.target].roi
        assert roi == roi.snap_to_grid(self.spec[self.target].voxel_size)
        deps = gp.BatchRequest()
        deps[self.source] = gp.ArraySpec(roi=roi.snap_to_grid(self.both))
        return deps

    def process(self, batch, request):
        source, spec = batch[self.source], self.spec[self.target].copy()
        data = source.data.repeat(2, 0).repeat(2, 1) if self.finer else source.data[::2, ::2]
        spec.roi = source.spec.roi
        result = gp.Batch()
        result[self.target] = gp.Array(data, spec).crop(request[self.target].roi)
        return result


def add_sized(pipeline, source, target, finer=False):
    return pipeline + Sized(source, target, finer)


class Pooled(gp.nodes.generic_predict.GenericPredict):
    """The mean of boxes of 2 x 2 voxels that begin where the input begins, as a network that pools computes it."""

    def __init__(self, source, target, reach):
        super().__init__({"x": source}, {"y": target}, {target: gp.ArraySpec(dtype=np.float32)})
        self.source, self.target, self.reach = source, target, reach

    def start(self):
        pass

    def stop(self):
        pass

    def predict(self, batch, request):
        data = batch[self.source].data.astype(np.float32)
        rows, columns = data.shape
        boxes = data[: rows // 2 * 2, : columns // 2 * 2].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
        result = boxes.repeat(2, 0).repeat(2, 1)
        spec = self.spec[self.target].copy()
        spec.roi = request[self.target].roi
        margin = [int(r) for r in self.reach]
        cut = tuple(slice(m, n - m) for m, n in zip(margin, result.shape, strict=True))
        batch[self.target] = gp.Array(result[cut], spec)


def add_pooled(pipeline, source, target, reach=(2, 2)):
    return pipeline + Pooled(source, target, reach)


def add_predict(pipeline, source, target, seed=0):
    """gunpowder's own Predict node with a network."""
    import gunpowder.torch
    import networks

    return (
        pipeline
        + gp.Unsqueeze([source])
        + gp.Unsqueeze([source])
        + gunpowder.torch.Predict(networks.unet(seed=seed).eval(), {0: source}, {0: target})
        + gp.Squeeze([source, target])
        + gp.Squeeze([source])
    )
