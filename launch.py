"""Train one run, or sweep with -m:  python launch.py -m loss=grpo,drgrpo optimizer.lr=1e-6,5e-6"""

import signal

# Ctrl-C while this imports and Hydra composes: an end, no traceback. See hear_interrupts.
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import re
import shlex
import sys
from errno import ENOSPC
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlcotrain.signals import hear_interrupts

CONF = Path(__file__).parent / "conf"
# What a user can cause: these end with one line. Anything else is our bug and keeps its traceback.
USER_ERRORS = (ValueError, OSError, ArithmeticError, HydraException, OmegaConfBaseException)
UNKNOWN = re.compile(r"Could not override '([\w.@/]+)'")  # as Hydra says it
COPIED = re.compile(r"\$\{([\w.]+)\}")
DEBUGGING = os.environ.get("HYDRA_FULL_ERROR") == "1"


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    """Returns the final sampled accuracy, for sweepers that optimise."""
    hear_interrupts()
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        from rlcotrain.job import plan, run

        _refuse_what_is_for_sweeps(cfg.launch.detach)
        # The points of a sweep were planned by the launcher, all together.
        if HydraConfig.get().mode == RunMode.RUN and not plan(cfg, folder):
            _forget_unstarted(folder)
            return float("nan")
        return run(cfg, folder, lambda: _note_start(cfg, folder))
    except KeyboardInterrupt:
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # the launcher reports
            raise
        _forget_unstarted(folder)
        sys.exit(f"interrupted; to go on: {_again(folder)}")
    except USER_ERRORS as error:
        if isinstance(error, OSError) and error.errno == ENOSPC:
            error.filename = error.filename or str(folder)  # a full disk does not say which
        if DEBUGGING or HydraConfig.get().mode == RunMode.MULTIRUN:  # the launcher reports
            raise
        _forget_unstarted(folder)
        sys.exit(f"error: {explain(error)}")


def explain(error: BaseException) -> str:
    """One line that says what is wrong and, for a key that does not exist, which ones do."""
    from rlcotrain.tracking.uri import redacted  # an override that Hydra cannot read is quoted

    return redacted(_explained(error))


def _explained(error: BaseException) -> str:
    while isinstance(error, InstantiationException | ConfigCompositionException) and isinstance(
        error.__cause__, ValueError
    ):
        error = error.__cause__  # what our own code, or a type, said
    line = " ".join(str(error).split()).partition(" Config search path:")[0]
    if isinstance(error, OverrideParseException) and "mismatched input '='" in line:
        return f"{error.override}: a value that holds = is quoted twice, as in 'folder=\"a=b\"'"
    if unknown := UNKNOWN.match(line):
        # The key itself may lie deeper than the override, as in reward.weights={typo: 1}.
        key = getattr(error.__cause__, "full_key", None) or unknown[1]
        parent, _, _ = key.rpartition(".")
        config = _without(unknown[1])
        if (source := _source(config, unknown[1])) != unknown[1]:
            return f"{unknown[1]}: is a copy and follows its source; set {source}"
        node = OmegaConf.select(config, parent) if parent else config
        keys = (
            [name for name in map(str, node) if name[0] != "_"] if OmegaConf.is_dict(node) else []
        )
        return f"{key}: no such key; {parent or 'there'} is {', '.join(keys) or 'no table'}"
    return line


def _source(config: DictConfig, key: str) -> str:
    """`key` behind the nodes that it runs through and that are copies, as `model: ${model}` is."""
    names = key.split(".")
    for count in range(1, len(names)):
        parent, name = ".".join(names[: count - 1]), names[count - 1]
        node = OmegaConf.select(config, parent) if parent else config
        if not OmegaConf.is_dict(node) or name not in node:
            break
        raw: Any = OmegaConf.to_container(node, resolve=False)
        if copied := COPIED.fullmatch(str(raw[name])):
            return _source(config, ".".join([copied[1], *names[count:]]))
    return key


def _without(unknown: str) -> DictConfig:
    """The configuration that the command line asks for, less keys that do not exist; of what is
    swept over, the first."""
    words = [word for word in sys.argv[1:] if "=" in word and not word.startswith(unknown)]
    overrides = [
        f"{word.key_or_group}={next(word.sweep_string_iterator())}"
        if word.is_sweep_override()
        else str(word.input_line)
        for word in OverridesParser.create().parse_overrides(words)
    ]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        while True:
            try:  # a border: the user's words
                return hydra.compose("config", overrides, return_hydra_config=True)
            except ConfigCompositionException as error:
                if not overrides:
                    raise
                another = UNKNOWN.match(str(error))
                wrong = [w for w in overrides if another and w.lstrip("+~").startswith(another[1])]
                wrong = wrong or overrides[-1:]
                overrides = [word for word in overrides if word not in wrong]


def _refuse_what_is_for_sweeps(detach: object) -> None:
    """Without -m Hydra asks no launcher: the run would train here, in front of the user, also
    where hardware names a cluster."""
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.RUN:
        return
    if detach is True:
        raise ValueError("launch.detach=true: a sweep can be left alone, a single run not: add -m")
    if hydra.launcher.executor == "slurm":
        name = hydra.runtime.choices["hardware"]
        raise ValueError(f"hardware={name}: submits sweeps, also of one point: add -m")


def _note_start(cfg: DictConfig, folder: Path) -> None:
    """What Hydra would write at every start, also at one that is then refused."""
    own = HydraConfig.get()
    parts = {"config": cfg, "hydra": {"hydra": own}, "overrides": own.overrides.task}
    (folder / ".hydra").mkdir(exist_ok=True)
    for name, part in parts.items():
        (folder / ".hydra" / f"{name}.yaml").write_text(OmegaConf.to_yaml(part), encoding="utf-8")


def _again(folder: Path) -> str:
    """The command that goes on with the run of a folder."""
    place = str(folder)
    if not re.fullmatch(r"[\w./-]+", place):
        place = '"' + place.replace('"', r"\"") + '"'
    words = [word for word in sys.argv[1:] if not word.startswith("folder=")]
    return shlex.join(["python", "launch.py", *words, f"folder={place}"])


def _forget_unstarted(folder: Path) -> None:
    """Hydra makes the folder before we are asked: a refused run leaves none behind."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then hands errors on instead of printing them
    if os.environ.get("RANK", "0") != "0":  # of torchrun's processes, the first has the folder
        sys.argv += ["hydra.run.dir=."]
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except USER_ERRORS as error:
        if DEBUGGING:
            raise
        sys.exit(f"error: {explain(error)}")
    except RuntimeError as error:
        if DEBUGGING or "plugin" not in str(error):
            raise
        sys.exit(f"error: hydra.launcher._target_, hydra.sweeper._target_: {error}")
