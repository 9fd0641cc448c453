"""What a GRPO step costs beside TRL's GRPOTrainer.  python benchmarks/grpo_step.py [RUNS]

The work of both: a Qwen3 of 0.8M parameters (hidden 128, 4 layers, 84 tokens) that has learned to
write out sums, 16 prompts x 8 samples of some 12 + 29 tokens, float32, one thread. CPU seconds a
step, everything from prompts to weights, in turns within one process; the ratio is of the medians
over RUNS runs of STEPS steps each. Needs pip install 'rlcotrain[bench]'.

The exit status is 1 above 0.5 of TRL's CPU seconds with every row trained, or above 0.42 with rows
without signal left out.
"""

from __future__ import annotations

import json
import os
import statistics
import string
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[1]
PROMPTS, GROUP, NEW_TOKENS = 16, 8, 40
ASKED = "q: {question}="  # 12 tokens
STEPS, WARM = 8, 2  # steps a run, of which the first are not counted
LEARNED = 500  # steps of imitation before anything is measured
CHARACTERS = string.digits + string.ascii_letters + "+-*=()?.,:;<>/ \n{}\\"
SIZES = {
    **{"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32},
}


def main(runs: int) -> int:
    sys.path.insert(0, str(ROOT))
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sums(folder / "sums.jsonl")
        learned = imitated(folder)
        found: dict[str, list[float]] = {"TRL": [], "every row": [], "rows with signal": []}
        for number in range(runs):
            found["TRL"].append(trl_step(learned, folder, number))
            for arm, skip in (("every row", False), ("rows with signal", True)):
                found[arm].append(our_step(learned, folder / f"{arm} {number}", skip, number))
        return report(found)


def report(found: dict[str, list[float]]) -> int:
    """Print medians, ratios and spread; 1 where a bound is missed."""
    kept = True
    for arm, seconds in found.items():
        ratios = [a / b for a, b in zip(seconds, found["TRL"], strict=True)]
        ratio = statistics.median(seconds) / statistics.median(found["TRL"])
        bound = {"every row": 0.5, "rows with signal": 0.42}.get(arm, 1.0)
        kept = kept and ratio <= bound
        print(
            f"{arm:17} {statistics.median(seconds):.3f} CPU s a step "
            f"({min(seconds):.3f} to {max(seconds):.3f}), {ratio:.3f} of TRL's "
            f"(runs {min(ratios):.3f} to {max(ratios):.3f}; bound {bound})"
        )
    print("all bounds kept" if kept else "A BOUND IS MISSED")
    return 0 if kept else 1


def write_sums(file: Path) -> None:
    """Sums of three numbers, each written out step by step: completions of one length, nearly, so
    that nothing is gained by how rows are packed."""
    random, rows = Random(5), dict[str, dict[str, str]]()
    while len(rows) < 4000:
        numbers = [random.randint(10, 50) for _ in range(3)]
        signs = [random.choice("+-") for _ in numbers[1:]]
        question, total, steps = str(numbers[0]), numbers[0], []
        for sign, number in zip(signs, numbers[1:], strict=True):
            after = total + number if sign == "+" else total - number
            steps.append(f"{total}{sign}{number}={after}")
            question, total = f"{question}{sign}{number}", after
        solution = "\n".join([*steps, f"\\boxed{{{total}}}"])
        rows[question] = {"question": question, "answer": str(total), "solution": solution}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))


def imitated(folder: Path) -> Path:
    """The checkpoint that both begin from: it answers some of the sums, not all."""
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    names = ["<pad>", "<bos>", "<eos>", *CHARACTERS]
    characters = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(names)}, merges=[]))
    characters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=characters,
        **{"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"},
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        **SIZES,
        **{"vocab_size": len(names), "max_position_embeddings": 1024, "tie_word_embeddings": True},
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    )
    blank = folder / "blank"
    Qwen3ForCausalLM(config).save_pretrained(blank)
    tokenizer.save_pretrained(blank)
    words = ("schedule=imitate", f"schedule.steps={LEARNED}", "optimizer.lr=2e-3", "export=true")
    where = folder / "learned"
    ours(blank, folder, where, *words)
    return where / "model" / "generator"


def ours(model: Path, folder: Path, where: Path, *words: str) -> list[dict[str, Any]]:
    """The metrics of a run of this platform."""
    from rlcotrain.files import read_lines
    from rlcotrain.job import run
    from tests.runs import compose

    sums = folder / "sums.jsonl"
    config = compose(
        where,
        *("~experiment", "name=step", "tracking=none", "data=jsonl", f"data.path={sums}"),
        *("data.solution_field=solution", f"data.wording.template='{ASKED}'"),
        *("model=qwen3_0.6b_base", f"model.path={model}", "model.max_length=1024"),
        *("model.gradient_checkpointing=false", "model.export_dtype=float32", "grader=math"),
        *(f"sampling.max_tokens={NEW_TOKENS}", "checkpoint.every=100000"),
        *("evaluation.num_problems=100", "evaluation.between_problems=1"),
        *("evaluation.every=100000", *words),
    )
    run(config, where)
    return list(read_lines(where / "metrics.jsonl"))


def our_step(model: Path, where: Path, skip: bool, seed: int) -> float:
    """Median CPU seconds of a step of this platform."""
    lines = ours(
        model,
        where.parent,
        where,
        *("schedule=rl", f"schedule.steps={STEPS}", "optimizer.lr=1e-5", f"seed={seed}"),
        *(f"schedule.cycle.solve.num_prompts={PROMPTS}", "export=false"),
        *(f"schedule.cycle.solve.group_size={GROUP}", f"hardware.skip_zero_advantages={skip}"),
    )
    steps = [line for line in lines if line["phase"] == "solve"][WARM:]
    print(
        f"  new tokens {statistics.mean(s['generator/length_mean'] for s in steps):.1f}, groups "
        f"without signal {statistics.mean(s['generator/zero_signal_fraction'] for s in steps):.2f}"
    )
    return statistics.median(line["time/cpu"] for line in steps)


def trl_step(model: Path, folder: Path, seed: int) -> float:
    """Median CPU seconds of a step of TRL's."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    rows = [json.loads(line) for line in (folder / "sums.jsonl").read_text().splitlines()]
    data = Dataset.from_dict(
        {
            "prompt": [ASKED.format(question=row["question"]) for row in rows],
            "answer": [row["answer"] for row in rows],
        }
    )

    def reward(completions: Sequence[str], answer: Sequence[str], **_: Any) -> list[float]:
        pairs = zip(completions, answer, strict=True)
        return [float(f"\\boxed{{{known}}}" in said) for said, known in pairs]

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.process_time() - self.began)

    clock = Clock()
    settings = GRPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=PROMPTS * GROUP,
        num_generations=GROUP,
        max_completion_length=NEW_TOKENS,
        max_steps=STEPS,
        seed=seed,
        **{"learning_rate": 1e-5, "beta": 0.0, "temperature": 1.0, "top_k": 0},
        **{"loss_type": "grpo", "bf16": False, "gradient_checkpointing": False, "use_cpu": True},
        **{"save_strategy": "no", "report_to": [], "disable_tqdm": True, "logging_steps": 1000},
    )
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        reward_funcs=reward,
        args=settings,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(model),
        callbacks=[clock],
    )
    trainer.train()
    lengths = [line["completions/mean_length"] for line in trainer.state.log_history[:1]]
    print(f"  TRL: new tokens {lengths[0]:.1f}" if lengths else "  TRL")
    return statistics.median(clock.seconds[WARM:])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
