"""What a run has changed, as lines for the screen."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MODES = ("sampled", "greedy")
Ends = Mapping[str, float]  # mean, low, high


class Change(NamedTuple):
    """One metric of a role before and after training, with the paired change between them."""

    role: str
    metric: str
    mode: str
    start: Ends
    final: Ends
    change: Ends


def changes(result: Mapping[str, Any]) -> list[str]:
    """A line for each accuracy of the generator and, if it was measured, metric of the verifier."""
    found = [*_of_generator(result["accuracy"]), *_of_verifier(result.get("verifier") or {})]
    return [
        f"{one.role:9} {one.metric:19} {one.mode:7}  {_interval(one.start)} -> "
        f"{_interval(one.final)}   change {_interval(one.change, '+')}{_doubt(one.change)}"
        for one in found
    ]


def _of_generator(accuracy: Mapping[str, Any]) -> Iterator[Change]:
    for mode in MODES:
        parts = (accuracy[moment][mode] for moment in ("start", "final", "change"))
        yield Change("generator", "accuracy", mode, *parts)


def _of_verifier(verifier: Mapping[str, Any]) -> Iterator[Change]:
    for key, change in verifier.get("change", {}).items():
        name, mode = key.split("/")
        start, final = (
            {
                end: verifier[moment][f"verifier/{key}{suffix}"]
                for end, suffix in (("mean", ""), ("low", "_low"), ("high", "_high"))
            }
            for moment in ("start", "final")
        )
        yield Change("verifier", name.replace("_", " "), mode, start, final, change)


def _interval(ends: Ends, sign: str = "") -> str:
    mean, low, high = (f"{ends[end]:{sign}.3f}" for end in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _doubt(change: Ends) -> str:
    """What to say of a change whose interval holds 0."""
    return "" if change["low"] > 0 or change["high"] < 0 else "  no change within the interval"
