"""Who speaks, to whom, in which order."""
