"""Pictures of a data set, and the style that all pictures share."""
