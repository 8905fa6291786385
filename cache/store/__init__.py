"""The strip store: writes and reads strips, which lie in parts (Zarr arrays) with index fragments."""
