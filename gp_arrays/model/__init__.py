"""What an array is, and the one way to its voxels: config, meta, plan, evaluation, the handle that users index."""
