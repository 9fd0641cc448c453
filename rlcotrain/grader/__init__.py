"""Programs that say whether an answer is right. They never raise on what a model wrote."""
