"""Pictures of a data set, and the common style of all pictures."""
