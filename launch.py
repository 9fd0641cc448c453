"""Train one run, or sweep with -m:  python launch.py -m loss=grpo,drgrpo optimizer.lr=1e-6,5e-6"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    """Returns the final sampled accuracy, for sweepers that optimise."""
    from rlcotrain.job import run

    return run(cfg, Path(HydraConfig.get().runtime.output_dir))


if __name__ == "__main__":
    main()
