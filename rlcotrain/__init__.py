"""rlcotrain: RL co-training of language models, from one laptop command to a cluster sweep."""

__version__ = "0.1.0"
