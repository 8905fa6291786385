"""The strip store: parts in Zarr, their index fragments, and how strips are written and read."""
