"""The signature is the schema: a configuration held against what it will be called with.

Every option names a `_target_` whose keyword arguments are its keys; there is no second schema to
keep in step. Only the tables that are no call of a target list their keys here.
"""

from __future__ import annotations

import inspect
import typing
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

CALLED = ("_target_", "_partial_")  # what says how a node is called; its other keys are arguments
PLAIN = (int, float, bool, str, type(None), Any)
# The keys of tables that are no call of a target, which would name its own.
ROOT = (
    *("verifier", "model", "optimizer", "data", "grader", "loss", "game", "schedule", "buffer"),
    *("hardware", "tracking", "sampling", "reward", "evaluation", "engine", "checkpoint", "record"),
    *("balance", "quality", "share_base", "sampler", "pass_at_k", "bonus"),
    *("name", "seed", "folder", "sweep", "launch", "cache_dir", "export", "policy", "roles"),
    *("dry_run", "estimate", "budget", "profile", "peak_tflops"),
)
TRACKING = ("uri", "live", "experiment", "parent", "sweep", "label")
SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("export", "share_base", "dry_run", "profile"), bool),
    "seed": int,
    "peak_tflops": float | None,
}
TABLES: dict[str, dict[str, Any]] = {
    "launch": {"detach": bool},
    "estimate": {"calibrate": bool, "runs": list[str]},
    "budget": {
        "max_usd": float | None,
        "max_gpu_hours": float | None,
        "phase": str | None,
        "phase_usd": float | None,
        "ledger": str,
    },
}


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
    _check_value("tracking.live", config["tracking"]["live"], bool)
    _check_value("tracking.uri", config["tracking"]["uri"], str | None)
    for name, node in config["policy"].items():
        _check_keys(f"policy.{name}", node, ("model", "optimizer", "frozen"))
        _check_value(f"policy.{name}.frozen", node.get("frozen", False), bool)
    for key, hint in SETTINGS.items():
        _check_value(key, config[key], hint)
    if config["peak_tflops"] is not None and config["peak_tflops"] <= 0:
        raise ValueError(f"peak_tflops={config['peak_tflops']}: must be above 0, or null")
    for key in ("folder", "cache_dir"):
        if not isinstance(config[key], str) or not config[key].strip():
            raise ValueError(f"{key}={config[key]}: must be the name of a folder")
    for table, hints in TABLES.items():
        _check_keys(table, config[table], tuple(hints))
        for key, hint in hints.items():
            _check_value(f"{table}.{key}", config[table][key], hint)
    for key in ("max_usd", "max_gpu_hours", "phase_usd"):
        limit = config["budget"][key]
        if limit is not None and limit < 0:
            raise ValueError(f"budget.{key}={limit:g}: must be 0 or more, or null for no limit")
    if "/" in str(config["sweep"]):  # `make sync` and estimates look below multirun
        raise ValueError(
            f"sweep={config['sweep']}: must be a name; another place is hydra.sweep.dir=FOLDER"
        )
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
    try:
        called = target(node["_target_"])
    except (ImportError, ValueError) as error:
        raise ValueError(f"{at}._target_={node['_target_']}: {error}") from None
    parameters, hints = _signature(called)
    given = {key: value for key, value in node.items() if key not in CALLED}
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
        name = node["_target_"].rpartition(".")[2]
        raise ValueError(f"{at}.{missing[0]}: missing; {name} needs {', '.join(required)}")
    if not missing and node.get("_partial_"):
        raise ValueError(f"{at}._partial_={node['_partial_']}: must be false, no key is missing")


def target(path: Any) -> type:
    """The class that a `_target_` names, as `rlcotrain.loss.objective.Loss`.

    ValueError for everything else, so that a configuration calls no other code: not a function, nor
    what a module of rlcotrain has imported. ImportError where the class needs a package.
    """
    module, _, name = str(path).rpartition(".")
    found = None
    if module.startswith("rlcotrain."):
        try:
            found = getattr(import_module(module), name, None)
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("rlcotrain"):
                raise
    if not inspect.isclass(found) or found.__module__ != module:
        raise ValueError(
            "must be a class of rlcotrain, named with its module; code of your own is "
            "grader=function grader.path=PACKAGE.MODULE.FUNCTION"
        )
    return found


@cache
def _signature(
    called: Callable[..., Any],
) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, Any]]:
    """Parameters and their types."""
    hints = typing.get_type_hints(called.__init__ if inspect.isclass(called) else called)
    return inspect.signature(called).parameters, hints


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def _check_value(at: str, value: Any, hint: Any) -> None:
    try:
        # Strict, so that `lr=true` is no number and `steps=2.5` no count; an int is a float.
        _adapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise ValueError(f"{at}={value}: {message[0].lower()}{message[1:]}") from None


def _is_plain(hint: Any) -> bool:
    """Whether a hint speaks of plain data only, so that the configuration must match it."""
    if typing.get_origin(hint) is Literal:
        return True
    arguments = [argument for argument in typing.get_args(hint) if argument is not Ellipsis]
    return hint in PLAIN or (bool(arguments) and all(map(_is_plain, arguments)))
