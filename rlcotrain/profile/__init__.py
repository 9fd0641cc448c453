"""Where the time goes, on request: seconds and share of each part of a step, tokens a second, model
FLOPs utilization, and a trace."""

from rlcotrain.profile.watch import Profile

__all__ = ["Profile"]
