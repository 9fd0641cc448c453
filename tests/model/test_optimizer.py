import math

import pytest
import torch

from rlcotrain.model.optimizer import Descent, Optimizer
from tests.model.tiny import hardware, optimizer, policy


def rates(settings: Optimizer, steps: int) -> list[float]:
    return [settings.rate(step) for step in range(steps)]


def test_the_rate_rises_in_equal_steps_and_stays() -> None:
    assert rates(optimizer(lr=8.0, warmup_steps=4), 7) == [2, 4, 6, 8, 8, 8, 8]
    assert rates(optimizer(lr=8.0), 3) == [8, 8, 8]


def test_linear_falls_to_its_share_and_stays() -> None:
    linear = optimizer(lr=8.0, schedule="linear", decay_steps=4)
    assert rates(linear, 7) == [8, 6, 4, 2, 0, 0, 0]
    ending = optimizer(
        lr=8.0, schedule="linear", decay_steps=6, warmup_steps=2, final_lr_share=0.25
    )
    assert rates(ending, 9) == [4, 8, 8, 6.5, 5, 3.5, 2, 2, 2]


def test_cosine_halves_in_the_middle() -> None:
    cosine = optimizer(lr=8.0, schedule="cosine", decay_steps=5, warmup_steps=1)
    half = math.sqrt(0.5)  # cos of a quarter turn's half
    assert rates(cosine, 8) == pytest.approx(
        [8, 8, 4 * (1 + half), 4, 4 * (1 - half), 0, 0, 0], abs=1e-12
    )
    ending = optimizer(lr=8.0, schedule="cosine", decay_steps=2, final_lr_share=0.5)
    assert rates(ending, 4) == pytest.approx([8, 6, 4, 4])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", -1.0),
        ("betas", [0.9]),
        ("betas", [0.9, 1.0]),
        ("eps", 0.0),
        ("warmup_steps", -1),
        ("max_grad_norm", 0.0),
        ("final_lr_share", 1.5),
    ],
)
def test_settings_out_of_range_are_named(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^optimizer\.{key}=.*: must be "):
        optimizer(**{key: value})


@pytest.mark.parametrize("decay_steps", [None, 3])
def test_a_falling_rate_needs_steps_to_fall(decay_steps: int | None) -> None:
    with pytest.raises(ValueError, match=rf"^optimizer\.decay_steps={decay_steps}: .*=3$"):
        optimizer(schedule="cosine", warmup_steps=3, decay_steps=decay_steps)


def descend(settings: Optimizer, gradients: list[float], start: float = 1.0) -> list[float]:
    """Where one weight is after each step against these gradients."""
    weight = torch.nn.Parameter(torch.tensor([start]))
    descent = Descent(settings, [weight], hardware(), policy().layout)
    places = []
    for gradient in gradients:
        descent.backward((weight * gradient).sum())
        descent.clip()
        descent.step()
        places.append(weight.item())
    return places


def naive_adamw(settings: Optimizer, gradients: list[float], start: float = 1.0) -> list[float]:
    """Loshchilov and Hutter, algorithm 2, in plain Python."""
    weight, m, v, places = start, 0.0, 0.0, []
    for step, gradient in enumerate(gradients):
        gradient *= min(1.0, settings.max_grad_norm / abs(gradient))
        rate, (b1, b2) = settings.rate(step), settings.betas
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        weight -= rate * settings.weight_decay * weight
        m_hat, v_hat = m / (1 - b1 ** (step + 1)), v / (1 - b2 ** (step + 1))
        weight -= rate * m_hat / (math.sqrt(v_hat) + settings.eps)
        places.append(weight)
    return places


@pytest.mark.parametrize(
    "settings",
    [
        optimizer(lr=0.1),
        optimizer(lr=0.1, betas=[0.5, 0.7]),
        optimizer(lr=0.1, eps=0.3),
        optimizer(lr=0.1, weight_decay=0.2),
        optimizer(lr=0.1, max_grad_norm=0.25),
        optimizer(lr=0.1, warmup_steps=2, schedule="linear", decay_steps=5),
    ],
    ids=["plain", "betas", "eps", "decay", "clipped", "scheduled"],
)
def test_adamw_against_the_paper(settings: Optimizer) -> None:
    gradients = [0.5, -0.2, 3.0, 0.7, 0.1]
    assert descend(settings, gradients) == pytest.approx(
        naive_adamw(settings, gradients), rel=1e-4, abs=1e-6
    )


def test_sgd_with_momentum_and_decay() -> None:
    settings = optimizer(algorithm="sgd", lr=0.1, momentum=0.5, weight_decay=0.2)
    # Velocity 0.5 + 0.2, then half of it and 0.5 + 0.2 * 0.93.
    assert descend(settings, [0.5, 0.5]) == pytest.approx([0.93, 0.93 - 0.1 * (0.35 + 0.686)])
