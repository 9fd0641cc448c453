"""Every model file of conf/model, from a tiny checkpoint of its architecture to a trained one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.model.agents import Agents
from rlcotrain.model.source import Pretrained
from rlcotrain.types import Problem, Prompt, Sampling
from tests.loss.composed import composed
from tests.model.architectures import write
from tests.model.tiny import optimizer, policy
from tests.runs import CONF

# conf/model: architecture, and whether embeddings are tied, as the hub's own files say.
MODELS = {
    "qwen3_0.6b": ("qwen3", True),
    "qwen3_0.6b_base": ("qwen3", True),
    "qwen3_0.6b_lora": ("qwen3", True),
    "qwen3_1.7b": ("qwen3", True),
    "qwen3_1.7b_base": ("qwen3", True),
    "qwen3_8b_lora": ("qwen3", False),
    "qwen2.5_0.5b_instruct": ("qwen2", True),
    "qwen2.5_1.5b_lora": ("qwen2", True),
    "qwen2.5_coder_1.5b_lora": ("qwen2", True),
    "qwen2.5_math_7b": ("qwen2", False),
    "llama3.2_1b": ("llama", True),
    "smollm2_360m": ("llama", True),
    "nanochat_d20": ("nanochat", False),
    "nanochat_d32": ("nanochat", False),
}


def source(name: str, base: Path) -> Pretrained:
    """The model of conf/model/`name`.yaml, its weights from a folder."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+model={name}", f"model.path={base}"])
    made = instantiate(config.model, _convert_="all")
    assert isinstance(made, Pretrained)
    made.check()
    return made


def test_no_model_file_is_forgotten() -> None:
    files = {file.stem for file in (CONF / "model").glob("*.yaml")}
    assert files == {*MODELS, "tiny", "tiny_wide"}


@pytest.mark.parametrize("name", MODELS)
def test_from_checkpoint_to_trained_checkpoint(name: str, tmp_path: Path) -> None:
    """Loads through its own file, samples, updates once, and is what transformers or peft load."""
    base, folder = tmp_path / "base", tmp_path / "trained"
    write(base, *MODELS[name])
    made = source(name, base)
    learner = policy(made, optimizer(lr=0.05))
    engine = TransformersEngine(rows=8, tokens=4096)
    agents = Agents({"generator": learner}, {"generator": "generator"}, engine)
    prompts = [
        Prompt(
            problem=Problem(id=text, question=text),
            messages=({"role": "user", "content": text},),
            peers=text,
            episode=text,
        )
        for text in ("bafo!", "kimu bafo ladu, 7+12?")
    ]
    rows = agents.sample("generator", prompts, 3, Sampling(max_tokens=12), 0)
    # What was said is scored as it was sampled: cache, positions and head agree.
    loose = 0.05 if made.dtype == "bfloat16" else 1e-4
    for row, scores in zip(rows, learner.score(rows), strict=True):
        np.testing.assert_allclose(scores, row.logprobs, atol=loose)
        if made.chat == "raw" and learner.chat.tokenizer.bos_token_id is not None:
            assert row.prompt_ids[0] == learner.chat.tokenizer.bos_token_id
    before = learner.weights()
    rows = [row.give("outcome", float(place % 3 == 0)) for place, row in enumerate(rows)]
    loss = composed("grpo")
    learner.update(loss.advantage(rows, {"outcome": 1.0}), loss, 0)
    moved = [
        key for key, weight in learner.weights().items() if not torch.equal(weight, before[key])
    ]
    assert moved and (made.lora is None or all("lora_" in key for key in moved))
    learner.export(folder)
    ids = torch.from_numpy(rows[0].prompt_ids.astype(np.int64))[None]
    with torch.no_grad():
        ours = learner.module.eval()(input_ids=ids).logits.float()
        theirs = reloaded(base, folder, made.lora is not None)(input_ids=ids).logits
        untrained = reloaded(base, base, False)(input_ids=ids).logits
    # As good as half precision on disk, and further away from what it was before.
    assert (ours - theirs).abs().max() < 0.1 < (theirs - untrained).abs().max()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "bafo kimu!"
    assert tokenizer.encode(text) == learner.chat.tokenizer.encode(text)
    assert tokenizer.chat_template == learner.chat.tokenizer.chat_template


def reloaded(base: Path, folder: Path, adapters: bool) -> Any:
    """What others load: a whole model from `folder`, or adapters from there on `base`."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    where = base if adapters else folder
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
    return (PeftModel.from_pretrained(model, str(folder)) if adapters else model).eval()


@pytest.mark.parametrize("name", ["smollm2_360m", "nanochat_d20", "qwen2.5_1.5b_lora"])
def test_lm_eval_loads_what_was_written(name: str, tmp_path: Path) -> None:
    """And finds the log-probabilities of a continuation that transformers gives."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    base, folder = tmp_path / "base", tmp_path / "trained"
    write(base, *MODELS[name])
    made = source(name, base)
    policy(made).export(folder)
    where = (
        {"pretrained": str(base), "peft": str(folder)} if made.lora else {"pretrained": str(folder)}
    )
    judge = HFLM(**where, device="cpu", dtype="float32", batch_size=1)
    asked = Instance("loglikelihood", {}, ("bafo kimu", " ladu!"), 0)
    ((found, _),) = judge.loglikelihood([asked], disable_tqdm=True)
    model = reloaded(base, folder, made.lora is not None)
    start, whole = (judge.tokenizer.encode(text) for text in ("bafo kimu", "bafo kimu ladu!"))
    # lm-eval takes the padding of the vocabulary away where it loads adapters.
    size = len(judge.tokenizer) if made.lora else model.config.vocab_size
    with torch.no_grad():
        logprobs = model(input_ids=torch.tensor([whole])).logits[0, :, :size].log_softmax(-1)
    told = sum(logprobs[i - 1, whole[i]].item() for i in range(len(start), len(whole)))
    assert found == pytest.approx(told, abs=1e-3)


def test_what_ends_a_completion_of_nanochat(tmp_path: Path) -> None:
    """The end of its own turn, which only its template knows, beside the end of the text."""
    write(tmp_path, "nanochat", False)
    _, chat = source("nanochat_d20", tmp_path).load(0)
    names = ("<|im_end|>", "<|assistant_end|>")
    assert chat.stop_ids == tuple(map(chat.tokenizer.convert_tokens_to_ids, names))
    write(tmp_path / "other", "llama", True)
    with pytest.raises(
        ValueError, match=r"model\.stop_tokens: the tokenizer knows no token '<\|as"
    ):
        source("nanochat_d20", tmp_path / "other").load(0)


def test_half_precision_is_for_frozen_bases_only(tmp_path: Path) -> None:
    write(tmp_path, "qwen3", True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=["+model=qwen3_0.6b", "model.dtype=bfloat16"])
    with pytest.raises(
        ValueError, match=r"model\.dtype=bfloat16: trained weights would lose small"
    ):
        instantiate(config.model).check()
    with pytest.raises(ValueError, match=r"model\.dtype: the model ties its embeddings"):
        source("qwen3_8b_lora", tmp_path).load(0)


def test_a_frozen_base_in_half_precision_carries_adapters_in_full(tmp_path: Path) -> None:
    write(tmp_path, "qwen3", False)
    learner = policy(source("qwen3_8b_lora", tmp_path))
    kinds = {p.requires_grad: p.dtype for p in learner.module.parameters() if p.dim() > 1}
    assert kinds[True] == torch.float32
    assert learner.module.get_output_embeddings().weight.dtype == torch.float32
    frozen = {
        p.dtype for n, p in learner.module.named_parameters() if "layers" in n and "lora" not in n
    }
    assert frozen == {torch.bfloat16}
