from rlcotrain.summary import changes


def ends(mean: float, low: float, high: float) -> dict[str, float]:
    return {"mean": mean, "low": low, "high": high, "count": 9}


def test_changes_name_role_metric_and_mode_with_intervals() -> None:
    accuracy = {
        "start": {"sampled": ends(0.1, 0.05, 0.2), "greedy": ends(0, 0, 0.01)},
        "final": {"sampled": ends(0.5, 0.4, 0.6), "greedy": ends(0, 0, 0.01)},
        "change": {"sampled": ends(0.4, 0.3, 0.5), "greedy": ends(0, -0.01, 0.01)},
    }
    moment = {f"verifier/contested_score/greedy{end}": 0.5 for end in ("", "_low", "_high")}
    verifier = {
        "start": moment,
        "final": moment,
        "change": {"contested_score/greedy": ends(0.0, -0.1, 0.1)},
    }
    assert changes({"accuracy": accuracy, "verifier": verifier}) == [
        "generator accuracy            sampled  0.100 [0.050, 0.200] -> 0.500 [0.400, 0.600]"
        "   change +0.400 [+0.300, +0.500]",
        "generator accuracy            greedy   0.000 [0.000, 0.010] -> 0.000 [0.000, 0.010]"
        "   change +0.000 [-0.010, +0.010]  no change within the interval",
        "verifier  contested score     greedy   0.500 [0.500, 0.500] -> 0.500 [0.500, 0.500]"
        "   change +0.000 [-0.100, +0.100]  no change within the interval",
    ]
    assert len(changes({"accuracy": accuracy, "verifier": None})) == 2
