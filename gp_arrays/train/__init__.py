"""gunpowder: the nodes of array types, compiled pipelines, and arrays that gunpowder nodes compute."""
