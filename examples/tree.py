"""A tree in Python: two stored volumes become normalized grey values and masks of some ids."""

import tempfile
from pathlib import Path

import gp_arrays as gpa
from gp_arrays.cli.sample import make_sample

folder = Path(tempfile.mkdtemp())
make_sample(folder)  # sample.zarr with raw and labels, as a stand-in for your data

raw = gpa.ZarrArrayConfig("raw", folder / "sample.zarr", "raw")
organelles = gpa.ZarrArrayConfig("organelles", folder / "sample.zarr", "labels/organelles")
normalized = gpa.IntensitiesArrayConfig("normalized", raw, min=0, max=255)
masks = gpa.BinarizeArrayConfig("masks", organelles, groupings=[("mitochondria", [1]), ("any", [])])

array = masks.array()
print(array)
print("channels:", array.channels)

roi = gpa.Roi((1000, 400, 400), (256, 256, 256))  # world units: nm
print("mitochondria in", roi, ":", int(array[roi][0].sum()), "voxels")
print("the same by index:", array[:, 25:57, 50:82, 50:82].shape)

print(gpa.explain({"normalized": normalized, "masks": masks}))

gpa.save_tree([normalized, masks], folder / "mine.toml")
assert gpa.load_tree(folder / "mine.toml")["masks"] == masks
print((folder / "mine.toml").read_text())
