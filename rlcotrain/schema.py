"""The signature is the schema: a configuration held against what it will be called with.

Every option names a `_target_` whose keyword arguments are its keys; there is no second schema to
keep in step. Only the tables that are no call of a target list their keys here.
"""

from __future__ import annotations

import inspect
import typing
from collections import deque
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

PLAIN = (int, float, bool, str, type(None), Any)
# The keys of tables that are no call of a target, which would name its own.
ROOT = (
    *("verifier", "model", "optimizer", "data", "grader", "loss", "game", "schedule", "buffer"),
    *("hardware", "tracking", "sampling", "reward", "evaluation", "engine", "checkpoint", "record"),
    *("balance", "quality", "share_base", "sampler", "pass_at_k", "bonus"),
    *("name", "seed", "folder", "sweep", "cache_dir", "export", "policy", "roles"),
    *("profile", "peak_tflops"),
)
TRACKING = ("uri", "experiment", "parent", "sweep", "label")


def check_schema(config: Mapping[str, Any]) -> None:
    """Raise ValueError naming key, value and what is allowed: unknown, missing, of a wrong type."""
    _check_tables(config)
    _check_calls(config)


def _check_calls(config: Mapping[str, Any]) -> None:
    """Hold every `_target_` node against the signature it will be called with.

    The shallowest first: a group is set at the top, not where it is copied to.
    """
    waiting = deque[tuple[str, Any]]([("", config)])
    while waiting:
        at, node = waiting.popleft()
        if isinstance(node, Mapping):
            if "_target_" in node:
                _check_call(node, at)
            waiting += [(f"{at}.{key}".lstrip("."), value) for key, value in node.items()]
        elif isinstance(node, list):
            waiting += [(f"{at}[{index}]", value) for index, value in enumerate(node)]


def _check_tables(config: Mapping[str, Any]) -> None:
    """Keys and types of what is no call of a target."""
    _check_keys("", config, ROOT)
    _check_keys("tracking", config["tracking"], TRACKING)
    for name, node in config["policy"].items():
        _check_keys(f"policy.{name}", node, ("model", "optimizer", "frozen"))
        _check_value(f"policy.{name}.frozen", node.get("frozen", False), bool)
    hints = {"seed": int, "export": bool, "share_base": bool, "profile": bool}
    for key, hint in hints.items():
        _check_value(key, config[key], hint)
    _check_value("peak_tflops", config["peak_tflops"], float | None)
    if config["peak_tflops"] is not None and config["peak_tflops"] <= 0:
        raise ValueError(f"peak_tflops={config['peak_tflops']}: must be above 0, or null")
    stop = config["sampling"]["stop"]
    _check_value("sampling.stop", stop, list[str])
    called = config["sampling"] | {"stop": tuple(stop), "_target_": "rlcotrain.types.Sampling"}
    _check_call(called, "sampling")


def _check_keys(at: str, node: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for key in node:
        if key not in allowed:
            name = f"{at}.{key}".lstrip(".")
            raise ValueError(f"{name}: no such key; allowed: {', '.join(allowed)}")


def _check_call(node: Mapping[str, Any], at: str) -> None:
    module, _, name = node["_target_"].rpartition(".")
    target = getattr(import_module(module), name)
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    given = {key: value for key, value in node.items() if not key.startswith("_")}
    for key, value in given.items():
        if key not in parameters:
            raise ValueError(f"{at}.{key}: no such key; allowed: {', '.join(parameters)}")
        if key in hints and _is_plain(hints[key]):
            _check_value(f"{at}.{key}", value, hints[key])
    required = [
        key for key, p in parameters.items() if p.default is p.empty and p.kind != p.VAR_KEYWORD
    ]
    missing = [key for key in required if key not in given]
    if missing and not node.get("_partial_"):
        raise ValueError(f"{at}.{missing[0]}: missing; {name} needs {', '.join(required)}")


def _check_value(at: str, value: Any, hint: Any) -> None:
    try:
        # Strict, so that `lr=true` is no number and `steps=2.5` no count; an int is a float.
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise ValueError(f"{at}={value}: {message[0].lower()}{message[1:]}") from None


def _is_plain(hint: Any) -> bool:
    """Whether a hint speaks of plain data only, so that the configuration must match it."""
    if typing.get_origin(hint) is Literal:
        return True
    arguments = [argument for argument in typing.get_args(hint) if argument is not Ellipsis]
    return hint in PLAIN or (bool(arguments) and all(map(_is_plain, arguments)))
