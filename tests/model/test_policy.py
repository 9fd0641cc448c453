import copy
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcotrain.loss.objective import Loss
from rlcotrain.model.policy import NonFiniteUpdate, Policy
from rlcotrain.model.reference import Weights
from rlcotrain.model.source import Pretrained, Source
from rlcotrain.types import Problem, Rollout
from tests.loss.composed import composed
from tests.model.tiny import (
    PLAIN_DESCENT,
    hardware,
    optimizer,
    plain_logprobs,
    policy,
    pretrained,
    random_rows,
    read_json,
    tiny,
    with_advantages,
)
from tests.rows import spoken

GRPO = composed("grpo")
NLL = composed("nll")


def largest_gap(one: Weights, other: Weights) -> float:
    assert one.keys() == other.keys()
    return max((one[key] - other[key]).abs().max().item() for key in one)


def naive_gradient(rows: Sequence[Rollout], beta: float = 0.0) -> Weights:
    """Of the mean over rows of -A lp (and beta k2 to what the policy was), row by row."""
    network = tiny().load(0)[0]
    total = torch.zeros(())
    for row in rows:
        logprobs = plain_logprobs(network, row)
        scored = torch.from_numpy(row.mask)
        costs = (
            -torch.from_numpy(row.advantages) * logprobs
            + beta * (logprobs - logprobs.detach()).square() / 2
        )
        total = total + costs[scored].sum() / int(scored.sum()) / len(rows)
    total.backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def injected(rows: Sequence[Rollout]) -> list[Rollout]:
    """Rows whose every fourth token was not the policy's choice."""
    return [
        replace(row, mask=np.arange(len(row.token_ids)) % 4 != 1, temperature=0.8) for row in rows
    ]


@pytest.mark.parametrize("budget", [19, 40, 4096])
def test_the_gradient_is_that_of_a_plain_implementation(budget: int) -> None:
    rows = injected(with_advantages(random_rows(0)))
    learner = policy(settings=PLAIN_DESCENT, micro_batch_tokens=budget, logprob_chunk=5)
    before = learner.weights()
    stats = learner.update(rows, GRPO, seed=0)
    gradient = naive_gradient(rows)
    assert gradient.keys() == before.keys()
    for name, weight in learner.weights().items():
        torch.testing.assert_close(before[name] - weight, gradient[name], rtol=1e-4, atol=1e-6)
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradient.values()))
    assert stats.grad_norm == pytest.approx(norm, rel=1e-5)
    assert stats.num_tokens == sum(int(row.mask.sum()) for row in rows)
    assert (stats.optimizer_steps, stats.lr, stats.clip_fraction) == (1, 1.0, 0.0)
    assert (stats.ratio_max, stats.approx_kl, stats.kl_max) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["grpo", "dapo", "drgrpo", "gspo", "rloo", "nanochat"])
def test_micro_batches_do_not_change_the_update(name: str) -> None:
    rows = injected(with_advantages(random_rows(1)))
    loss = composed(name, minibatches=2, epochs=2, entropy=0.01)
    ends = []
    for budget in (4096, 19, 60, 100):
        learner = policy(settings=replace(PLAIN_DESCENT, lr=0.1), micro_batch_tokens=budget)
        before = learner.weights()
        assert learner.update(rows, loss, seed=0).optimizer_steps == 4
        ends.append(learner.weights())
    assert largest_gap(before, ends[0]) > 1e-2
    assert max(largest_gap(end, ends[0]) for end in ends) <= 1e-6


def test_statistics_do_not_depend_on_micro_batches_either() -> None:
    rows = injected(with_advantages(random_rows(1)))
    loss = composed("grpo", minibatches=2, epochs=2, beta=0.1)
    one, many = (
        policy(settings=optimizer(lr=0.02), micro_batch_tokens=budget).update(rows, loss, seed=0)
        for budget in (4096, 30)
    )
    for field in one.__dataclass_fields__:
        if field not in ("seconds", "padding_fraction"):
            assert getattr(many, field) == pytest.approx(getattr(one, field), rel=1e-3), field


def test_gradient_norm_is_clipped() -> None:
    rows = with_advantages(random_rows(0))
    settings = replace(PLAIN_DESCENT, max_grad_norm=0.01)
    learner = policy(settings=settings)
    before = learner.weights()
    stats = learner.update(rows, GRPO, seed=0)
    after = learner.weights()
    moved = math.sqrt(sum(float((after[k] - before[k]).square().sum()) for k in before))
    assert stats.grad_norm > 0.1
    assert moved == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("changes", [{"minibatches": 3}, {"epochs": 3}])
def test_from_the_second_step_on_clips_act(changes: dict[str, int]) -> None:
    rows = with_advantages(random_rows(2))
    stats = policy(settings=optimizer(lr=0.03)).update(rows, replace(GRPO, **changes), seed=0)
    assert stats.optimizer_steps == 3
    assert 0.05 < stats.clip_fraction < 1
    assert stats.approx_kl > 0 and stats.kl_max > 0.2 and stats.ratio_max > 1.2
    tokens = sum(len(row.token_ids) for row in rows)
    assert stats.num_tokens == tokens * changes.get("epochs", 1)
    single = policy(settings=optimizer(lr=0.03)).update(rows, GRPO, seed=0)
    assert (single.clip_fraction, single.approx_kl, single.ratio_max) == (0, 0, 1)


def test_the_second_epoch_is_measured_against_the_start_of_the_update() -> None:
    """Two epochs by hand: gradient descent on the ratio to fixed old log-probabilities."""
    rows = with_advantages(random_rows(3, groups=1, size=3))
    network = tiny().load(0)[0]
    old = [plain_logprobs(network, row).detach() for row in rows]
    for _ in range(2):
        total = torch.zeros(())
        for row, line in zip(rows, old, strict=True):
            ratio = (plain_logprobs(network, row) - line).exp()
            advantages = torch.from_numpy(row.advantages)
            gain = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
            total = total - gain.mean() / len(rows)
        network.zero_grad()
        total.backward()
        with torch.no_grad():
            for weight in network.parameters():
                weight -= 0.05 * weight.grad
    settings = replace(PLAIN_DESCENT, lr=0.05)
    learner = policy(settings=settings)
    learner.update(rows, replace(GRPO, epochs=2), seed=0)
    expected = {name: p.detach() for name, p in network.named_parameters()}
    assert largest_gap(learner.weights(), expected) <= 2e-6


def test_minibatches_follow_the_seed() -> None:
    rows = with_advantages(random_rows(2, groups=6))
    halves = replace(GRPO, minibatches=3)
    ends = []
    for seed in (5, 5, 6):
        learner = policy(settings=PLAIN_DESCENT)
        learner.update(rows, halves, seed=seed)
        ends.append(learner.weights())
    assert largest_gap(ends[0], ends[1]) == 0
    assert largest_gap(ends[0], ends[2]) > 1e-4


def test_old_from_the_sampler() -> None:
    learner = policy(settings=optimizer(lr=0.0))
    rows = with_advantages(random_rows(0))
    scores = learner.score(rows)
    shifted = [
        replace(row, logprobs=line + np.float32(0.5))
        for row, line in zip(rows, scores, strict=True)
    ]
    stats = learner.update(shifted, replace(GRPO, old="sampler"), seed=0)
    # Every probability is exp(-0.5) of what the sampler said.
    assert stats.ratio_max == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert stats.kl_max == pytest.approx(0.5, rel=1e-4)
    assert stats.approx_kl == pytest.approx(math.exp(-0.5) - 1 + 0.5, rel=1e-4)
    negative = sum(int((row.advantages < 0).sum()) for row in rows if row.advantages is not None)
    assert stats.clip_fraction == pytest.approx(negative / stats.num_tokens)
    # The mismatch says the same of sampler and trainer, whatever `old` is.
    for loss in (GRPO, replace(GRPO, old="sampler"), replace(GRPO, epochs=2)):
        stats = learner.update(shifted, loss, seed=0)
        assert stats.mismatch_kl == pytest.approx(math.exp(-0.5) - 1 + 0.5, rel=1e-4)
        assert stats.mismatch_max == pytest.approx(0.5, rel=1e-4)


def test_the_mismatch_is_measured_before_weights_move() -> None:
    learner = policy(settings=optimizer(lr=0.03))
    rows = with_advantages(random_rows(0))
    sampled = [
        replace(row, logprobs=line) for row, line in zip(rows, learner.score(rows), strict=True)
    ]
    stats = learner.update(sampled, replace(GRPO, minibatches=3, epochs=2), seed=0)
    assert stats.kl_max > 0.1
    assert stats.mismatch_max is not None and stats.mismatch_max < 1e-5


def test_rows_that_nobody_sampled_have_no_mismatch() -> None:
    silent = [
        replace(row, logprobs=np.full(len(row.token_ids), np.nan, np.float32))
        for row in random_rows(0)
    ]
    learner = policy()
    stats = learner.update(NLL.advantage(silent, {}), NLL, seed=0)
    assert (stats.mismatch_kl, stats.mismatch_max) == (None, None)
    assert all(np.isfinite(p).all() for p in map(torch.Tensor.numpy, learner.weights().values()))


def test_entropy_and_loss_worked_from_the_models_own_logits() -> None:
    rows = with_advantages(random_rows(4))
    network = tiny().load(0)[0].eval()
    entropies, costs = [], []
    for row in rows:
        ids = torch.tensor([[*row.prompt_ids.tolist(), *row.token_ids.tolist()]])
        lines = network(input_ids=ids).logits[0].detach().log_softmax(-1)
        first = len(row.prompt_ids) - 1
        for line in lines[first : first + len(row.token_ids)]:
            entropies.append(-float((line.exp() * line).sum()))
        costs.append(-float(row.advantages.mean()))
    stats = policy().update(rows, replace(GRPO, entropy=0.5), seed=0)
    assert stats.entropy == pytest.approx(np.mean(entropies), rel=1e-5)
    by_row = np.split(np.array(entropies), np.cumsum([len(r.token_ids) for r in rows])[:-1])
    bonus = 0.5 * np.mean([line.mean() for line in by_row])
    assert stats.loss == pytest.approx(np.mean(costs) - bonus, rel=1e-5)


@pytest.mark.parametrize(("weight", "direction"), [(1.0, 1), (-1.0, -1)])
def test_the_entropy_bonus_moves_entropy(weight: float, direction: int) -> None:
    rows = [
        replace(row, advantages=np.zeros(len(row.token_ids), np.float32)) for row in random_rows(5)
    ]
    loss = replace(GRPO, entropy=weight)
    learner = policy(settings=optimizer(lr=3e-3))
    entropies = [learner.update(rows, loss, seed=0).entropy for _ in range(4)]
    assert all(direction * (b - a) > 0.01 for a, b in pairwise(entropies))


def test_nll_teaches_what_it_is_shown() -> None:
    rows = NLL.advantage([spoken([9, 8], [3, 1, 4, 1, 5])], {})
    learner = policy(settings=optimizer(lr=0.01))
    losses = [learner.update(rows, NLL, seed=0).loss for _ in range(25)]
    first = plain_logprobs(tiny().load(0)[0], rows[0])
    assert losses[0] == pytest.approx(-first.mean().item(), rel=1e-5)
    assert losses[-1] < 0.1


def test_the_reference_is_what_the_policy_was_and_is_taken_anew() -> None:
    rows = with_advantages(random_rows(0))
    forever = replace(GRPO, beta=0.01)
    learner = policy(settings=optimizer(lr=3e-3))
    kls = [learner.update(rows, forever, seed=0).reference_kl for _ in range(4)]
    assert kls[0] == 0
    assert 0 < kls[1] < kls[2] < kls[3]
    learner = policy(settings=optimizer(lr=3e-3))
    refreshed = replace(forever, reference_every=2)
    kls = [learner.update(rows, refreshed, seed=0).reference_kl for _ in range(5)]
    assert (kls[0], kls[2], kls[4]) == (0, 0, 0)
    assert kls[1] > 0 and kls[3] > 0


def test_the_value_of_the_reference_kl() -> None:
    rows = with_advantages(random_rows(0))
    loss = replace(GRPO, beta=0.25, kl="k3")
    learner = policy(settings=optimizer(lr=3e-3))
    before = np.concatenate(learner.score(rows))
    learner.update(rows, loss, seed=0)
    d = np.concatenate(learner.score(rows)) - before
    stats = learner.update(rows, loss, seed=0)
    assert stats.reference_kl == pytest.approx(float(np.mean(np.exp(-d) - 1 + d)), rel=1e-3)


def test_a_strong_pull_to_the_reference_holds_the_policy_back() -> None:
    rows = with_advantages(random_rows(0))
    ends = []
    for beta in (1e-6, 5.0):
        learner = policy(settings=optimizer(lr=3e-3))
        for _ in range(8):
            stats = learner.update(rows, replace(GRPO, beta=beta), seed=0)
        ends.append(stats.reference_kl)
    assert ends[1] < ends[0] / 5


def test_without_a_kl_no_reference_is_kept() -> None:
    learner = policy()
    learner.update(with_advantages(random_rows(0)), GRPO, seed=0)
    assert learner.state_dict()["reference"] is None


def test_score_is_what_the_model_says_of_each_row() -> None:
    rows = injected(random_rows(6))
    network = tiny().load(0)[0]
    for budget in (19, 4096):
        for row, line in zip(rows, policy(micro_batch_tokens=budget).score(rows), strict=True):
            expected = np.where(row.mask, plain_logprobs(network, row).detach().numpy(), 0)
            np.testing.assert_allclose(line, expected, rtol=0, atol=1e-5)


LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}


def adapted(qwen: Path, **changes: Any) -> Pretrained:
    return pretrained(qwen, lora=LORA, **changes)


def test_lora_trains_adapters_and_exports_them(qwen: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    learner = policy(adapted(qwen, export_dtype="bfloat16"), optimizer(lr=0.01))
    assert 0 < learner.num_parameters[1] < learner.num_parameters[0] / 10
    assert all("lora_" in name for name in learner.weights())
    frozen = {
        name: p.detach().clone()
        for name, p in learner.module.named_parameters()
        if not p.requires_grad
    }
    before, rows = learner.weights(), with_advantages(random_rows(0))
    loss = replace(GRPO, beta=0.1)
    kls = [learner.update(rows, loss, seed=0).reference_kl for _ in range(3)]
    assert kls[0] == 0 < kls[1] < kls[2]
    assert all(not torch.equal(before[name], weight) for name, weight in learner.weights().items())
    assert frozen and all(
        torch.equal(p, frozen[name])
        for name, p in learner.module.named_parameters()
        if name in frozen
    )
    learner.export(tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= written
    assert "model.safetensors" not in written
    base = AutoModelForCausalLM.from_pretrained(qwen, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, tmp_path).eval()
    for row, line in zip(rows, learner.score(rows), strict=True):
        # bfloat16 keeps 8 bits of each adapter weight.
        np.testing.assert_allclose(
            plain_logprobs(loaded, row).detach().numpy(), line, rtol=0, atol=0.02
        )


def pair(source: Source, **hardware_changes: Any) -> tuple[Policy, Policy]:
    """Two policies on one frozen base, which learn fast."""
    first = policy(source, optimizer(lr=0.01), seed=1, **hardware_changes)
    machine = hardware(**hardware_changes)
    return first, Policy("verifier", source, optimizer(lr=0.01), machine, 2, base=first)


def frozen(learner: Policy) -> dict[str, torch.Tensor]:
    tensors = (*learner.module.named_parameters(), *learner.module.named_buffers())
    return {name: tensor for name, tensor in tensors if not tensor.requires_grad}


def storages(tensors: Iterable[torch.Tensor]) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_shared_base_is_in_memory_once(qwen: Path, checkpointing: bool) -> None:
    first, second = pair(adapted(qwen, gradient_checkpointing=checkpointing))
    base = frozen(first)
    assert base.keys() == frozen(second).keys()
    assert all(
        tensor.data_ptr() == base[name].data_ptr() for name, tensor in frozen(second).items()
    )
    one, two = (storages(learner.module.parameters()) for learner in (first, second))
    adapters = len(first.weights())
    assert len(one) == len(two) == len(one & two) + adapters
    assert second.num_parameters == first.num_parameters
    assert second.chat is first.chat


def test_policies_on_a_shared_base_start_as_the_base_with_adapters_of_their_own(
    qwen: Path,
) -> None:
    first, second = pair(adapted(qwen))
    rows = random_rows(0)
    for lines in zip(
        *(p.score(rows) for p in (policy(pretrained(qwen)), first, second)), strict=True
    ):
        np.testing.assert_array_equal(lines[0], lines[1])
        np.testing.assert_array_equal(lines[0], lines[2])
    other = second.weights()
    for name, weight in first.weights().items():
        assert torch.equal(weight, other[name]) == ("lora_B" in name)  # which is 0 in both


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_sharing_a_base_changes_nothing_but_memory(
    qwen: Path, checkpointing: bool, dtype: str
) -> None:
    source = adapted(qwen, gradient_checkpointing=checkpointing)
    loss = replace(GRPO, beta=0.1, minibatches=2, reference_every=2)
    alone = [policy(source, optimizer(lr=0.01), seed=seed, dtype=dtype) for seed in (1, 2)]
    ends = []
    for learners in (alone, pair(source, dtype=dtype)):
        stats = []
        for step in range(3):  # in turns, each with rows of its own
            for number, learner in enumerate(learners):
                rows = with_advantages(random_rows(number))
                stats.append(replace(learner.update(rows, loss, seed=step), seconds=0))
        ends.append((stats, [learner.weights() for learner in learners]))
    assert ends[0][0] == ends[1][0]
    assert all(largest_gap(*weights) == 0 for weights in zip(ends[0][1], ends[1][1], strict=True))


@pytest.mark.parametrize("learning", [0, 1])
def test_an_update_on_a_shared_base_changes_the_one_policy_alone(qwen: Path, learning: int) -> None:
    both = pair(adapted(qwen))
    learner, other = both[learning], both[1 - learning]
    rows = with_advantages(random_rows(0))
    other.update(rows, GRPO, seed=5)  # it has learned something that could be lost
    base = {name: tensor.clone() for name, tensor in frozen(learner).items()}
    scores, weights = other.score(rows), other.weights()
    before = learner.score(rows)
    for step in range(3):
        learner.update(rows, replace(GRPO, beta=0.1), seed=step)
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(before, learner.score(rows), strict=True))
    for line, still in zip(scores, other.score(rows), strict=True):
        np.testing.assert_array_equal(line, still)
    assert largest_gap(weights, other.weights()) == 0
    assert largest_gap(base, frozen(learner)) == 0
    assert all(p.grad is None for p in frozen(learner).values())


def test_policies_on_a_shared_base_export_their_own_adapters(qwen: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    rows = with_advantages(random_rows(0))
    for number, learner in enumerate(pair(adapted(qwen))):
        learner.update(with_advantages(random_rows(number)), GRPO, seed=number)
        learner.export(tmp_path / learner.name)
        base = AutoModelForCausalLM.from_pretrained(qwen)
        loaded = PeftModel.from_pretrained(base, str(tmp_path / learner.name)).eval()
        for row, line in zip(rows, learner.score(rows), strict=True):
            expected = plain_logprobs(loaded, row).detach().numpy()
            np.testing.assert_allclose(line, expected, rtol=0, atol=1e-5)
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("generator", "verifier")]
    assert files[0].read_bytes() != files[1].read_bytes()


def test_policies_on_a_shared_base_resume_to_the_bit(qwen: Path) -> None:
    rows = with_advantages(random_rows(0))
    originals, restored = pair(adapted(qwen)), pair(adapted(qwen))
    for step, learner in enumerate(originals):
        learner.update(rows, GRPO, seed=step)
    for learner, again in zip(originals, restored, strict=True):
        again.load_state_dict(saved(learner))
    for learner, again in zip(originals, restored, strict=True):
        for one in (learner, again):
            one.update(rows, GRPO, seed=7)
        assert largest_gap(learner.weights(), again.weights()) == 0
    assert storages(frozen(restored[0]).values()) == storages(frozen(restored[1]).values())


@pytest.mark.parametrize(
    "target", [torch.float64, *(["cuda"] if torch.cuda.is_available() else [])], ids=str
)
def test_a_move_does_not_split_a_shared_base(qwen: Path, target: Any) -> None:
    first, second = pair(adapted(qwen))
    for learner in (first, second):
        torch.nn.Module.to(learner.module, target)
    ours, theirs = (dict(learner.module.named_parameters()) for learner in (first, second))
    assert len(ours) > len(first.weights())
    for name, parameter in ours.items():
        assert target in (parameter.dtype, parameter.device.type)
        assert (parameter.data_ptr() == theirs[name].data_ptr()) != parameter.requires_grad


def test_a_policy_that_can_share_no_base_is_refused(qwen: Path) -> None:
    whole = policy(pretrained(qwen))
    with pytest.raises(ValueError, match=r"^share_base=true: model\.lora is null"):
        Policy("verifier", whole.source, optimizer(), hardware(), 2, base=whole)
    with pytest.raises(ValueError, match=r"^share_base=true: needs the same model"):
        Policy("verifier", adapted(qwen), optimizer(), hardware(), 2, base=whole)


def test_dropout_acts_on_the_gradient_and_never_on_a_score(qwen: Path) -> None:
    dropping = pretrained(qwen, lora={**LORA, "lora_dropout": 0.5})
    learner = policy(dropping, optimizer(lr=0.01))
    rows = with_advantages(random_rows(0))
    learner.update(rows, GRPO, seed=0)  # adapters start at 0, where dropout does nothing
    still = policy(adapted(qwen), optimizer(lr=0.01))
    still.load_weights(learner.weights())
    for first, second in zip(learner.score(rows), still.score(rows), strict=True):
        np.testing.assert_array_equal(first, second)
    # Nor on what a ratio is measured against: only the update's own passes drop anything, so even
    # weights that do not move seem to have.
    resting = policy(dropping, optimizer(lr=0.0))
    resting.load_weights(learner.weights())
    sampled = [
        replace(row, logprobs=line) for row, line in zip(rows, resting.score(rows), strict=True)
    ]
    stats = resting.update(sampled, replace(GRPO, epochs=2, beta=0.1), seed=0)
    assert min(stats.kl_max, stats.reference_kl, stats.mismatch_kl or 0) > 1e-4


@pytest.mark.parametrize("lora", [None, LORA])
def test_gradient_checkpointing_does_not_change_the_update(
    qwen: Path, lora: dict[str, Any] | None
) -> None:
    rows = injected(with_advantages(random_rows(0)))
    loss = replace(GRPO, epochs=2, beta=0.1)
    ends = []
    for checkpointing in (False, True):
        source = pretrained(qwen, lora=lora, gradient_checkpointing=checkpointing)
        learner = policy(source, PLAIN_DESCENT, logprob_chunk=10)
        before = learner.weights()
        learner.update(rows, loss, seed=0)
        assert largest_gap(before, learner.weights()) > 1e-3
        ends.append(learner.weights())
    assert largest_gap(*ends) <= 1e-6


def test_gradient_checkpointing_keeps_no_activations_of_the_layers() -> None:
    def recomputed(checkpointing: bool) -> int:
        learner = policy(tiny(gradient_checkpointing=checkpointing), share_prefixes=False)
        calls = []

        def note(*_: object) -> None:
            calls.append(0)

        learner.module.model.layers[0].input_layernorm.register_forward_hook(note)
        learner.update(with_advantages(random_rows(0)), GRPO, seed=0)
        return len(calls)

    assert recomputed(True) == 2 * recomputed(False) > 0


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.15), ("float16", 0.02)])
def test_half_precision_goes_the_same_way(dtype: str, tolerance: float) -> None:
    rows = with_advantages(random_rows(0))
    full = policy(settings=PLAIN_DESCENT)
    half = policy(settings=PLAIN_DESCENT, dtype=dtype)
    before = full.weights()
    one, other = (learner.update(rows, GRPO, seed=0) for learner in (full, half))
    assert other.loss == pytest.approx(one.loss, rel=1e-2)
    assert other.grad_norm == pytest.approx(one.grad_norm, rel=tolerance)
    assert all(weight.dtype == torch.float32 for weight in half.weights().values())
    for name, weight in half.weights().items():
        step, rough = full.weights()[name] - before[name], weight - before[name]
        assert 0 < (rough - step).norm() < tolerance * step.norm()


def test_fp16_leaves_out_a_step_that_overflows_and_goes_on() -> None:
    # A loss of some 1e3 times the scale of 2^16 is beyond fp16's 65504.
    large = [
        replace(row, advantages=1e4 * row.advantages) for row in with_advantages(random_rows(0))
    ]
    learner = policy(settings=optimizer(lr=1e-3), dtype="float16")
    before = learner.weights()
    stats = learner.update(large, GRPO, seed=0)
    assert not math.isfinite(stats.grad_norm)
    assert largest_gap(before, learner.weights()) == 0
    assert learner.version == 1
    for _ in range(16):
        stats = learner.update(large, GRPO, seed=0)
        if math.isfinite(stats.grad_norm):
            break
    assert math.isfinite(stats.grad_norm)
    assert largest_gap(before, learner.weights()) > 1e-4
    assert all(weight.isfinite().all() for weight in learner.weights().values())


class Explode(torch.autograd.Function):
    """Hands a tensor on; its gradient is NaN."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return torch.full_like(gradients[0], math.nan)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_gradient_that_is_broken_stops_the_run(dtype: str) -> None:
    learner = policy(dtype=dtype)
    learner.module.model.norm.register_forward_hook(lambda _m, _i, out: Explode.apply(out))
    before, rows = learner.weights(), with_advantages(random_rows(0))
    with pytest.raises(NonFiniteUpdate, match="gradient norm is nan") as caught:
        for _ in range(20):  # fp16 first believes in an overflow, 17 times
            learner.update(rows, GRPO, seed=0)
    assert largest_gap(before, learner.weights()) == 0
    assert caught.value.rows == rows


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_broken_stops_the_run_before_weights_change(
    dtype: str, value: float
) -> None:
    rows = with_advantages(random_rows(0))
    rows[5].advantages[0] = value
    learner = policy(dtype=dtype, micro_batch_tokens=40)
    before = learner.weights()
    with pytest.raises(NonFiniteUpdate, match=r"loss is (nan|-?inf)") as caught:
        learner.update(rows, GRPO, seed=0)
    assert largest_gap(before, learner.weights()) == 0
    assert any(row is rows[5] for row in caught.value.rows)
    assert learner.version == 0


def saved(learner: Policy) -> dict[str, Any]:
    """The state as it comes back from a file."""
    buffer = io.BytesIO()
    torch.save(learner.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=False)
    assert isinstance(state, dict)
    return state


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("own", [True, False])
def test_a_restored_policy_goes_on_to_the_bit(own: bool, dtype: str) -> None:
    rows = with_advantages(random_rows(0))
    loss = replace(GRPO, beta=0.05, minibatches=2, reference_every=3)
    settings = optimizer(lr=3e-3, warmup_steps=3, schedule="cosine", decay_steps=20)
    other = None if own else optimizer(lr=1e-2, betas=[0.8, 0.9], warmup_steps=7)
    original = policy(settings=settings, dtype=dtype)
    for step in range(4):
        original.use("phase", other)
        original.update(rows, loss, seed=step)
    restored = policy(settings=settings, seed=99, dtype=dtype)
    restored.load_state_dict(saved(original))
    assert restored.version == 4
    for step in range(4, 8):
        if step == 6:  # the own optimizer takes over, or a phase's
            other = optimizer(lr=1e-2) if own else None
        phase = "phase" if step < 6 else "later"
        stats = []
        for learner in (original, restored):
            learner.use(phase, other)
            stats.append(replace(learner.update(rows, loss, seed=step), seconds=0))
        assert stats[0] == stats[1]
        assert largest_gap(original.weights(), restored.weights()) == 0


def test_a_kept_prelude_does_not_bring_an_optimizer_that_had_not_begun() -> None:
    rows = with_advantages(random_rows(0))
    imitation = optimizer(lr=1e-2)
    first = policy(settings=optimizer(lr=0.5, weight_decay=0.5, betas=[0.1, 0.1]))
    first.use("imitate", imitation)
    first.update(rows, GRPO, seed=0)
    second = policy(settings=PLAIN_DESCENT)
    second.load_state_dict(saved(first))
    direct = policy(settings=PLAIN_DESCENT)
    direct.load_weights(first.weights())
    for learner in (second, direct):
        learner.use("solve", None)
        assert learner.update(rows, GRPO, seed=0).lr == 1.0
    assert largest_gap(second.weights(), direct.weights()) == 0


def test_a_phases_optimizer_starts_fresh_and_the_own_one_lives_on() -> None:
    rows = with_advantages(random_rows(0))
    learner = policy(settings=optimizer(lr=1e-3, warmup_steps=10))
    imitation = optimizer(lr=1e-2, warmup_steps=4)

    def rates(phase: str, settings: Any, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            learner.use(phase, settings)
            found.append(learner.update(rows, GRPO, seed=0).lr)
        return found

    assert rates("imitate", imitation, 3) == pytest.approx([0.0025, 0.005, 0.0075])
    assert rates("solve", None, 3) == pytest.approx([1e-4, 2e-4, 3e-4])
    assert rates("more", imitation, 1) == pytest.approx([0.0025])
    assert rates("imitate", imitation, 2) == pytest.approx([0.0025, 0.005])
    assert rates("verify", None, 2) == pytest.approx([4e-4, 5e-4])


def test_the_own_moments_survive_a_phase_of_another_optimizer() -> None:
    rows, others = with_advantages(random_rows(0)), with_advantages(random_rows(1))
    still = optimizer(lr=0.0)
    straight, interrupted = policy(), policy()
    for step in range(4):
        if step == 2:
            interrupted.use("other", still)
            interrupted.update(others, GRPO, seed=0)
            interrupted.load_state_dict(saved(interrupted))
        for learner in (straight, interrupted):
            learner.use("solve", None)
            learner.update(rows, GRPO, seed=step)
    assert largest_gap(straight.weights(), interrupted.weights()) == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("tied", [False, True])
def test_an_exported_model_loads_again(dtype: str, tied: bool, qwen: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: Source = pretrained(qwen, export_dtype=dtype) if tied else tiny(export_dtype=dtype)
    learner = policy(source, optimizer(lr=0.01))
    rows = with_advantages(random_rows(0))
    learner.update(rows, GRPO, seed=0)
    before = learner.weights()
    learner.export(tmp_path)
    assert largest_gap(before, learner.weights()) == 0
    assert read_json(tmp_path / "config.json")["dtype"] == dtype
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == getattr(torch, dtype)
    for name, weight in loaded.named_parameters():
        assert torch.equal(weight, before[name].to(weight.dtype))
    rounded = copy.deepcopy(learner.module).eval()
    for weight in rounded.parameters():
        weight.data = weight.to(loaded.dtype).float()
    for row in rows[:3]:
        torch.testing.assert_close(
            plain_logprobs(copy.deepcopy(loaded).float().eval(), row),
            plain_logprobs(rounded, row),
            rtol=0,
            atol=1e-5,
        )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "bafo <answer>1+1</answer> é"
    assert tokenizer.encode(text) == learner.chat.tokenizer.encode(text)


def test_an_exported_model_trains_on(tmp_path: Path) -> None:
    rows = with_advantages(random_rows(0))
    learner = policy()
    learner.update(rows, GRPO, seed=0)
    learner.export(tmp_path)
    again = policy(pretrained(tmp_path))
    for first, second in zip(learner.score(rows), again.score(rows), strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)
    assert again.chat.stop_ids == learner.chat.stop_ids
    assert again.update(rows, GRPO, seed=0).lr == 1e-3


def test_versions_count_updates() -> None:
    learner = policy()
    rows = with_advantages(random_rows(0))
    for _ in range(3):
        learner.update(rows, replace(GRPO, minibatches=2, epochs=2), seed=0)
    assert learner.version == 3


def alike(seed: int) -> list[Rollout]:
    """Three problems of prompts of 3, 9 and 5 tokens and eight completions of 1 to 12 tokens; of
    the last two one says the same as another, hotter, and one begins as another does."""
    random = np.random.default_rng(seed)
    prompts = [random.integers(0, 261, size).astype(np.int32) for size in (3, 9, 5)]
    said = [row.token_ids for row in random_rows(seed)[:8]]
    said[6] = said[0].copy()
    said[7] = np.concatenate([said[1][:3], said[7]])
    rows = [
        replace(
            spoken(prompts[k % 3], token_ids, f"group {k % 3}"),
            problem=Problem(id=f"made/{k % 3}", question="?"),
        )
        for k, token_ids in enumerate(said)
    ]
    rows = injected(with_advantages(rows))
    return [replace(row, temperature=1.7) if k == 6 else row for k, row in enumerate(rows)]


SHARED = pytest.mark.parametrize(
    "whole", [0, 256]
)  # rows with tokens of their own, and whole trees


@SHARED
@pytest.mark.parametrize("budget", [20, 40, 4096])
@pytest.mark.parametrize(
    ("loss", "lr", "close"),
    [
        (composed("grpo"), 0.1, 3e-7),
        (composed("gspo", minibatches=1), 0.1, 3e-7),
        (composed("nanochat", minibatches=2), 0.1, 3e-7),
        (composed("grpo", beta=0.1, entropy=0.01), 0.1, 3e-7),
        (composed("grpo", minibatches=2, epochs=2, beta=0.1), 0.03, 1e-6),  # four steps
    ],
)
def test_shared_beginnings_give_the_gradient_of_whole_rows(
    loss: Loss,
    lr: float,
    close: float,
    budget: int,
    whole: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rlcotrain.decoder.trie.WHOLE", whole)
    rows = alike(3)
    ends, stats = [], []
    for share in (False, True):
        learner = policy(
            settings=replace(PLAIN_DESCENT, lr=lr), micro_batch_tokens=budget, share_prefixes=share
        )
        before = learner.weights()
        stats.append(learner.update(rows, loss, seed=0))
        ends.append(learner.weights())
    assert largest_gap(before, ends[0]) > 1e-2
    assert largest_gap(*ends) <= close
    for field in ("loss", "entropy", "grad_norm", "num_tokens", "clip_fraction", "reference_kl"):
        ours, plain = getattr(stats[1], field), getattr(stats[0], field)
        assert ours == pytest.approx(plain, rel=1e-5, abs=1e-7), field
    assert stats[0].shared_fraction == 0 < stats[1].shared_fraction


def shape_of_ids(
    read: list[tuple[int, ...]], _: Any, args: Any, given: dict[str, torch.Tensor]
) -> None:
    read.append(tuple(given["input_ids"].shape))


def test_what_rows_begin_with_alike_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of 3 and 2 tokens; of the first 3 rows two say the same, and one parts after 2."""
    rows = [
        replace(spoken(prompt, said), problem=Problem(id=str(prompt), question="?"))
        for prompt, said in [
            ([1, 2, 3], [4, 5, 6, 7]),
            ([1, 2, 3], [4, 5, 6, 7]),
            ([1, 2, 3], [4, 5, 9]),
            ([8, 2], [4, 5, 6]),
        ]
    ]
    # A last token is only predicted: 1 2 3 4 5 6 in the first tree, 8 2 4 5 in the second.
    for whole, share, shapes in [
        (256, True, [(2, 6)]),
        (0, True, [(2, 6)]),  # the row of the second is alone: its own tree
        (256, False, [(4, 6)]),
    ]:
        monkeypatch.setattr("rlcotrain.decoder.trie.WHOLE", whole)
        learner = policy(share_prefixes=share)
        read: list[tuple[int, ...]] = []
        note = partial(shape_of_ids, read)
        learner.module.get_decoder().register_forward_pre_hook(note, with_kwargs=True)
        stats = learner.update(with_advantages(rows), GRPO, seed=0)
        assert read == shapes
        # Of 6 + 6 + 5 + 4 tokens ten were read.
        assert stats.shared_fraction == pytest.approx(11 / 21 if share else 0)


def test_a_tree_larger_than_the_budget_is_cut() -> None:
    """Four rows of 20 tokens, two and two the same: 38 tokens of a tree, of which 19 fit."""
    rows = [replace(spoken([7], [k // 2] + [5] * 18), peers="a") for k in range(4)]
    ends = []
    for share, budget in ((False, 4096), (True, 20), (True, 4096)):
        learner = policy(settings=PLAIN_DESCENT, micro_batch_tokens=budget, share_prefixes=share)
        stats = learner.update(with_advantages(rows), GRPO, seed=0)
        ends.append(learner.weights())
    assert largest_gap(ends[0], ends[1]) <= 3e-7 >= largest_gap(ends[0], ends[2])
    assert stats.shared_fraction == pytest.approx(1 - 37 / 76)


def test_padding_is_counted_of_all_that_goes_through_the_model() -> None:
    """Whole rows are 39 of 40 tokens; two trees of 7 and 4 tokens are 11 of 14."""
    whole = [
        replace(row, problem=Problem(id=str(k), question="?"))
        for k, row in enumerate([spoken([7] * 3, [5] * 17), spoken([7] * 9, [5] * 10)])
    ]
    shared = [
        replace(spoken([7, prompt], said), problem=Problem(id=str(prompt), question="?"))
        for prompt, said in [(1, [5] * 6), (1, [5] * 3), (2, [5, 5, 4]), (2, [5, 5, 4])]
    ]
    for rows, padding in ((whole, 1 / 40), (shared, 3 / 14)):
        stats = policy().update(with_advantages(rows), composed("grpo", epochs=2), seed=0)
        assert stats.padding_fraction == pytest.approx(padding)


def test_scores_of_rows_that_share_prefixes_are_those_of_whole_rows() -> None:
    rows = alike(4)
    plain = policy(share_prefixes=False, micro_batch_tokens=30).score(rows)
    shared = policy(share_prefixes=True, micro_batch_tokens=30).score(rows)
    for one, other, row in zip(plain, shared, rows, strict=True):
        assert len(one) == len(row.token_ids)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["grpo", "dapo", "drgrpo", "cispo", "nanochat"])
def test_rows_without_advantage_can_stay_out_of_the_update(name: str) -> None:
    rows = alike(3)
    for k in (1, 4, 5):
        rows[k] = replace(rows[k], advantages=np.zeros(len(rows[k].token_ids), np.float32))
    ends, stats = [], []
    for skip in (False, True):
        learner = policy(settings=PLAIN_DESCENT, skip_zero_advantages=skip)
        stats.append(learner.update(rows, composed(name), seed=0))
        ends.append(learner.weights())
    assert largest_gap(*ends) <= 3e-7
    assert [one.rows_skipped for one in stats] == [0, 3]
    assert stats[0].loss == pytest.approx(stats[1].loss, rel=1e-5)
    left = sum(int(row.mask.sum()) for k, row in enumerate(rows) if k not in (1, 4, 5))
    assert stats[1].num_tokens == left


@pytest.mark.parametrize("changes", [{"beta": 0.1}, {"entropy": 0.01}])
def test_no_row_stays_out_where_more_than_advantages_is_paid_for(
    changes: dict[str, float],
) -> None:
    rows = [replace(row, advantages=np.zeros(len(row.token_ids), np.float32)) for row in alike(3)]
    learner = policy()
    assert learner.update(rows, composed("grpo", **changes), seed=0).rows_skipped == 0


def test_a_step_is_taken_where_no_row_teaches_anything() -> None:
    rows = alike(3)
    silent = [replace(row, advantages=np.zeros(len(row.token_ids), np.float32)) for row in rows]
    ends = []
    for skip in (False, True):
        learner = policy(settings=optimizer(), skip_zero_advantages=skip)
        learner.update(rows, GRPO, seed=0)
        moved = learner.weights()
        stats = learner.update(silent, GRPO, seed=0)
        assert (stats.optimizer_steps, stats.loss) == (1, 0.0)
        ends.append(learner.weights())
        assert largest_gap(moved, ends[-1]) > 1e-5  # AdamW's momentum
    assert largest_gap(*ends) <= 1e-7
    assert stats.rows_skipped == len(rows) - 1
