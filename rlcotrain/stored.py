"""Saved state: tensors and plain data only, so that reading one runs no code.

folder/state.pt     what `torch.load(..., weights_only=True)` reads: tensors, lists, tables, scalars
folder/SHA256SUMS   digests of the folder's files
"""

import pickle
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlcotrain.files import SUMS, check_seal, seal
from rlcotrain.model.optimizer import Optimizer
from rlcotrain.types import Grade, Judgement, Problem, Reward, Rollout, StepTruth, Verdict

STATE = "state.pt"
SCALARS = (type(None), bool, int, float, str, bytes)
# A tuple in the file is (kind, content): what is none of the plain types stands there under its
# name, a row as a table of its fields, an array as a tensor.
ROWS = {
    kind.__name__: kind
    for kind in (Rollout, Problem, Reward, Grade, Verdict, Judgement, StepTruth, Optimizer)
}
CONTAINERS = {kind.__name__: kind for kind in (tuple, set, frozenset)}
TEXTS: dict[str, Any] = {
    **{kind.__name__: kind.fromisoformat for kind in (datetime, date, time)},
    **{kind.__name__: kind for kind in (Decimal, Fraction)},
}


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a state into a folder and seal it, or raise OSError (a full disk)."""
    try:
        write(folder / STATE, state)
    except RuntimeError as error:
        hidden = error.__context__  # torch says "unexpected pos" where the disk said "no space"
        raise hidden if isinstance(hidden, OSError) else error from None
    seal(folder)


def load(folder: Path) -> dict[str, Any]:
    """The state that `save` wrote. ValueError, naming the file, where it is another or damaged."""
    if STATE not in check_seal(folder):
        raise ValueError(f"{folder / SUMS}: damaged, it names no {STATE}")
    found = read(folder / STATE)
    if not isinstance(found, dict):
        raise ValueError(f"{folder / STATE}: holds no state")
    return found


def write(file: Path, value: Any) -> None:
    """Save a value. ValueError where it holds what is no data."""
    with file.open("wb") as stream:
        torch.save(plain(value), stream)


def read(file: Path) -> Any:
    """What `write` wrote. ValueError, naming the file, where it is damaged or would run code."""
    try:
        return restored(torch.load(file, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError:
        raise ValueError(
            f"{file}: holds Python objects; such a file can run code and is not read"
        ) from None
    except OSError:
        raise
    except Exception as error:  # a border: torch raises of every kind where bytes are wrong
        raise ValueError(f"{file}: damaged ({_first_line(error)})") from None


def plain(value: Any) -> Any:
    """Of tensors, scalars, lists, tables and (kind, content) only."""
    kind = type(value)
    if kind in SCALARS or isinstance(value, torch.Tensor):
        return value
    if kind.__name__ in ROWS and kind is ROWS[kind.__name__]:
        return kind.__name__, {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        if all(type(key) in SCALARS for key in value):
            return {key: plain(each) for key, each in value.items()}
        return "dict", [[plain(key), plain(each)] for key, each in value.items()]
    if isinstance(value, np.ndarray):
        return "array", torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if kind.__name__ in CONTAINERS:
        return kind.__name__, [plain(each) for each in value]
    if kind.__name__ in TEXTS:
        return kind.__name__, str(value)
    raise ValueError(f"a state cannot hold a {kind.__module__}.{kind.__qualname__}: {value!r:.80}")


def restored(value: Any) -> Any:
    """What `plain` was given."""
    if isinstance(value, list):
        return [restored(each) for each in value]
    if isinstance(value, dict):
        return {key: restored(each) for key, each in value.items()}
    if not isinstance(value, tuple):
        return value
    name, content = value
    if name == "array":
        return content.numpy()
    if name == "dict":
        return {restored(key): restored(each) for key, each in content}
    if name in TEXTS:
        return TEXTS[name](content)
    if name in CONTAINERS:
        return CONTAINERS[name](map(restored, content))
    return ROWS[name](**{key: restored(each) for key, each in content.items()})


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
