import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from rlcotrain.model.export import export
from rlcotrain.model.shared import check_shared, load_shared
from rlcotrain.types import Messages
from tests.model.tiny import pretrained, read_json, tiny

QUESTION: Messages = ({"role": "user", "content": "bafo!"},)


def test_a_tiny_model_is_a_function_of_its_seed() -> None:
    state = torch.random.get_rng_state()
    one, same, other = (tiny().load(seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])
    # Nobody else's random numbers are used up.
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_tiny_model_is_what_its_settings_say() -> None:
    model, chat = tiny(words=["<a>", "<b>"], hidden_size=48, layers=3, initializer_range=0.05).load(
        0
    )
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (48, 3, 260)
    assert model.dtype == torch.float32
    assert not config.tie_word_embeddings
    assert model.lm_head.weight.std().item() == pytest.approx(0.05, rel=0.05)
    assert (chat.stop_ids, chat.style, chat.max_length) == ((1,), "raw", 128)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [("key_value_heads", 3, "must divide heads=2"), ("head_dim", 15, "must be even")],
)
def test_sizes_that_make_no_model_are_named(key: str, value: int, match: str) -> None:
    with pytest.raises(ValueError, match=rf"^model\.{key}={value}: {match}"):
        tiny(**{key: value}).check()
    tiny().check()


def test_a_checkpoint_from_disk(qwen: Path) -> None:
    source = pretrained(qwen, chat="template")
    source.check()
    model, chat = source.load(0)
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert model.dtype == torch.float32
    assert model.config._attn_implementation == "sdpa"
    assert len(chat.tokenizer) == 3003
    # Both ends that the generation config names; the config alone names one.
    assert chat.stop_ids == (3000, 3002)
    assert read_json(qwen / "config.json")["eos_token_id"] == 3002
    assert chat.render(QUESTION) == ("<|im_start|>user\nbafo!<|im_end|>\n<|im_start|>assistant\n")
    assert 0 in chat.prompt_ids(QUESTION)  # "!" is token 0


def test_the_tokenizers_eos_counts_where_no_generation_config_does(
    qwen: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(qwen, folder)
    (folder / "generation_config.json").unlink()
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(
        config.replace('"eos_token_id": 3002', '"eos_token_id": 3000')
    )
    assert pretrained(folder).load(0)[1].stop_ids == (3000, 3002)


def test_half_precision_on_disk_is_full_precision_here(qwen: Path, tmp_path: Path) -> None:
    model, chat = pretrained(qwen).load(0)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    chat.tokenizer.save_pretrained(tmp_path)
    assert read_json(tmp_path / "config.json")["dtype"] == "bfloat16"
    assert pretrained(tmp_path).load(0)[0].dtype == torch.float32


@pytest.mark.parametrize("path", ["/nowhere/at/all", "~/no such folder"])
def test_a_path_without_a_model_is_named(path: str) -> None:
    source = pretrained(Path(path))
    for step in (source.check, lambda: source.load(0)):
        with pytest.raises(ValueError, match=rf"^model\.path={path}: no config\.json there"):
            step()


def test_a_text_longer_than_the_model_was_made_for_is_named(qwen: Path) -> None:
    pretrained(qwen, max_length=4096).load(0)
    with pytest.raises(ValueError, match=r"^model\.max_length=4097: .* was made for at most 4096"):
        pretrained(qwen, max_length=4097).load(0)


def test_a_missing_chat_template_is_named_before_weights_are_read(
    qwen: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(qwen, folder)
    (folder / "chat_template.jinja").unlink()
    assert pretrained(folder, chat="raw").load(0)[1].render(QUESTION) == "bafo!"
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"^model\.chat=template: .* no chat template"):
        pretrained(folder, chat="template").load(0)


def test_adapters_are_a_function_of_the_seed_and_change_nothing_at_first(
    qwen: Path,
) -> None:
    lora = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "up_proj"]}
    plain = pretrained(qwen).load(0)[0]
    one, same, other = (pretrained(qwen, lora=lora).load(seed)[0] for seed in (1, 1, 2))
    trained = {name for name, weight in one.named_parameters() if weight.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert len(trained) == 2 * 2 * 2  # a pair for each of two projections in each of two layers
    weights = [dict(network.named_parameters()) for network in (one, same, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in trained)
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in trained)
    ids = torch.tensor([[0, 5, 9]])
    torch.testing.assert_close(one(input_ids=ids).logits, plain(input_ids=ids).logits)


LORA = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "up_proj"]}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"init_lora_weights": "gaussian"},
        {"use_dora": True},
        {"target_modules": "all-linear"},
        {"lora_dropout": 0.5, "use_rslora": True},
    ],
)
def test_a_shared_base_gives_bit_for_bit_the_model_of_its_own_seed(
    qwen: Path, more: dict[str, Any]
) -> None:
    source = pretrained(qwen, lora=LORA | more)
    first = source.load(1)[0]
    with torch.no_grad():
        for weight in first.parameters():
            if weight.requires_grad:
                weight.add_(1.0)  # it has learned: nothing of that is passed on
    before = {name: weight.detach().clone() for name, weight in first.named_parameters()}
    state = torch.random.get_rng_state()
    second, alone = load_shared(source, 2, source, first), source.load(2)[0]
    assert torch.equal(torch.random.get_rng_state(), state)
    after = dict(first.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in after.items())
    ours, theirs = dict(second.named_parameters()), dict(alone.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name])
        assert weight.requires_grad == theirs[name].requires_grad
    assert second.lm_head.weight is second.get_input_embeddings().weight  # tied, as in the file
    held = {id(tensor) for tensor in (*first.parameters(), *first.buffers())}
    assert all(
        (id(tensor) in held) != tensor.requires_grad
        for tensor in (*second.parameters(), *second.buffers())
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "match"),
    [
        ({"lora": None}, {"lora": None}, r"model\.lora is null"),
        ({"lora": None}, {}, r"model\.lora is null"),
        ({}, {"lora": None}, r"needs the same model .* not model\.lora=\{'r': 2.* and None"),
        ({}, {"lora": LORA | {"r": 3}}, r"needs the same model .* not model\.lora="),
        ({"name": "a"}, {"name": "b"}, r"not model\.name='a' and 'b'"),
        ({"lora": LORA | {"bias": "all"}}, None, r"model\.lora\.bias=all: allowed keys: r, "),
        (
            {"lora": LORA | {"init_lora_weights": "pissa"}},
            None,
            r"model\.lora\.init_lora_weights=pissa: allowed: \(True, 'gaussian'\)",
        ),
    ],
)
def test_models_that_can_share_no_base_are_named(
    qwen: Path, ours: dict[str, Any], theirs: dict[str, Any] | None, match: str
) -> None:
    source, base = (
        pretrained(qwen, **{"lora": LORA} | changes)
        for changes in (ours, ours if theirs is None else theirs)
    )
    with pytest.raises(ValueError, match=rf"^share_base=true: .*{match}"):
        check_shared(source, base)


def test_a_base_is_shared_by_models_of_one_kind(qwen: Path) -> None:
    with pytest.raises(ValueError, match=r"^share_base=true: model\.lora is null"):
        check_shared(tiny(), tiny())
    with pytest.raises(ValueError, match=r"same model for both policies, not Pretrained and Tiny"):
        check_shared(pretrained(qwen, lora=LORA), tiny())
    check_shared(pretrained(qwen, lora=LORA), pretrained(qwen, lora=dict(LORA)))


def edited(folder: Path, to: Path, file: str, **changes: Any) -> Path:
    """A copy of a checkpoint with other values in one of its files; None takes one away."""
    shutil.copytree(folder, to)
    values = {**read_json(to / file), **changes}
    (to / file).write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    return to


@pytest.mark.parametrize(
    "changes",
    [
        {"do_sample": False, "temperature": 0.6, "top_p": 0.9},
        {"pad_token_id": -1},
        {"length_penalty": 2.0},
        {"top_k": -5},
    ],
)
def test_a_generation_config_that_cannot_be_saved_is_mended_at_the_start(
    qwen: Path, tmp_path: Path, changes: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = edited(qwen, tmp_path / "m", "generation_config.json", **changes)
    model, chat = pretrained(folder).load(0)
    told = capfd.readouterr().err
    assert f"model.path={folder}: generation_config.json is invalid (" in told
    assert chat.stop_ids == (3000, 3002)
    export(model, {name for name, _ in model.named_parameters()}, torch.float32, tmp_path / "out")
    chat.tokenizer.save_pretrained(tmp_path / "out")
    assert read_json(tmp_path / "out" / "generation_config.json")["eos_token_id"] == [3002, 3000]
    again, spoken = pretrained(tmp_path / "out").load(0)
    assert spoken.stop_ids == (3000, 3002)
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)


def test_a_model_that_samples_keeps_its_generation_config(
    qwen: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = {"do_sample": True, "temperature": 0.6}
    folder = edited(qwen, tmp_path / "m", "generation_config.json", **changes)
    model, _ = pretrained(folder).load(0)
    assert model.generation_config.temperature == 0.6
    assert "invalid" not in capfd.readouterr().err


def test_values_of_sampling_in_the_models_own_config_do_no_harm(qwen: Path, tmp_path: Path) -> None:
    """As old checkpoints have them, with and without a generation config beside."""
    folder = edited(qwen, tmp_path / "m", "config.json", temperature=0.6, top_k=3, num_beams=2)
    for lacking in ((), ("generation_config.json",)):
        for name in lacking:
            (folder / name).unlink()
        model, _ = pretrained(folder).load(0)
        every = {name for name, _ in model.named_parameters()}
        export(model, every, torch.float32, tmp_path / f"out{len(lacking)}")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def lose_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def lose_a_layer(folder: Path) -> None:
    kept = {key: value for key, value in weights(folder).items() if "layers.1" not in key}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def cut_weights(folder: Path) -> None:
    held = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(held[: len(held) // 2])


def change_a_shape(folder: Path) -> None:
    held = weights(folder)
    held["model.norm.weight"] = torch.ones(3)
    save_file(held, folder / "model.safetensors", {"format": "pt"})


def lose_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def grow_tokenizer(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"w{i}" for i in range(100)])
    tokenizer.save_pretrained(folder)


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "nonsense"}')


def break_generation(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"early_stopping": 7}')


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lose_weights, "no file named model.safetensors"),
        (lose_a_layer, "its files lack 11 weights, model.layers.1.input_layernorm.weight is one"),
        (cut_weights, "incomplete metadata"),
        (change_a_shape, "ignore_mismatched_sizes"),
        (lose_tokenizer, "it has no tokenizer, or one that reads nothing"),
        (grow_tokenizer, "its tokenizer has the id 3102, its weights have 3064 rows"),
        (break_config, "nonsense"),
        (break_generation, "early_stopping"),
    ],
)
def test_a_folder_that_holds_no_whole_model_is_named_in_one_line(
    qwen: Path, tmp_path: Path, damage: Callable[[Path], None], why: str
) -> None:
    shutil.copytree(qwen, tmp_path / "m")
    damage(tmp_path / "m")
    with pytest.raises(ValueError, match=rf"^model\.path=.*/m: cannot be used \(.*{why}") as found:
        pretrained(tmp_path / "m").load(0)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("whole", [False, True])
def test_adapters_are_no_model(qwen: Path, tmp_path: Path, whole: bool) -> None:
    """Also where a config, or a whole model, lies beside them: which of them is meant?"""
    folder = tmp_path / "adapters"
    if whole:
        shutil.copytree(qwen, folder)
    pretrained(qwen, lora=LORA).load(0)[0].save_pretrained(folder)
    source = pretrained(folder)
    for step in (source.check, lambda: source.load(0)):
        with pytest.raises(ValueError, match=r"^model\.path=.*: holds adapters .* merge them"):
            step()


def test_a_tokenizer_that_names_no_end_is_named(qwen: Path, tmp_path: Path) -> None:
    folder = edited(qwen, tmp_path / "m", "tokenizer_config.json", eos_token=None, pad_token=None)
    for file in ("generation_config.json", "config.json"):
        values = read_json(folder / file)
        del values["eos_token_id"]
        (folder / file).write_text(json.dumps(values))
    with pytest.raises(ValueError, match="names an eos token"):
        pretrained(folder).load(0)
    assert pretrained(folder, stop_tokens=["<|im_end|>"]).load(0)[1].stop_ids == (3002,)
