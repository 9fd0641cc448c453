"""`python -m rlcotrain.tracking sync ROOT...` and, for the mirror itself, `follow FOLDER`."""

import sys
from pathlib import Path

from rlcotrain.tracking.mirror import follow, sync

USUAL = ("outputs", "multirun")  # which the first run or sweep makes
USAGE = "usage: python -m rlcotrain.tracking sync ROOT... | follow FOLDER"


def main(words: list[str]) -> int:
    match words:
        case ["follow", folder]:
            return follow(Path(folder))
        case ["sync", *roots] if roots:
            if missing := [root for root in roots if root not in USUAL and not Path(root).is_dir()]:
                print(f"error: no such folder: {', '.join(missing)}", file=sys.stderr)
                return 2
            return sync(map(Path, roots))
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
