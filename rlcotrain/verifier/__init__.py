"""Who says what is right: a rule around a grader, a vote, or a model."""
