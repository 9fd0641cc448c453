"""How reward streams are weighed against each other."""

from collections.abc import Mapping


class Mix:
    """Stream weights. A stream that is not named here is recorded and not learned from."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        if not any(weights.values()):
            raise ValueError(f"reward.weights={dict(weights)}: at least one must not be 0")
        self._weights = dict(weights)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams with a weight other than 0."""
        return tuple(stream for stream, weight in self._weights.items() if weight)

    def weights(self, step: int) -> dict[str, float]:
        """Weights at a step of the learning policy (counted from 0)."""
        assert step >= 0
        return dict(self._weights)
