from rlcotrain.data.arithmetic import Arithmetic
from rlcotrain.data.sampler import Uniform
from rlcotrain.data.wording import Wording


def sampler() -> Uniform:
    data = Arithmetic(
        stages={},
        seed=5,
        levels=[2, 3],
        slip="wrap",
        slip_rate=0.6,
        held_out=0.1,
        wording=Wording(),
    )
    return Uniform(data)


def test_draws_go_on_where_the_last_one_ended() -> None:
    whole, parts = sampler(), sampler()
    assert whole.draw(5, None) == parts.draw(2, None) + parts.draw(3, None)


def test_every_choice_of_levels_has_its_own_cursor() -> None:
    mixed, plain = sampler(), sampler()
    mixed.draw(4, (3,))
    assert mixed.draw(3, (2,)) == plain.draw(3, (2,))
    assert {problem.level for problem in mixed.draw(8, (3,))} == {3}


def test_a_resumed_sampler_draws_what_it_would_have_drawn() -> None:
    running, resumed = sampler(), sampler()
    running.draw(7, None)
    running.draw(2, (2, 3))
    state = running.state_dict()
    ahead = running.draw(4, None), running.draw(4, (2, 3))
    resumed.load_state_dict(state)
    assert (resumed.draw(4, None), resumed.draw(4, (2, 3))) == ahead
    assert state == {"all": 7, "2,3": 2}
