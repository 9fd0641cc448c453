"""Seeds that mean the same today, tomorrow and on another machine."""

import hashlib
import json


def derive_seed(*parts: int | str) -> int:
    """Hash what a draw belongs to into a seed in [0, 2**63).

    Never `hash()`: Python salts it anew in every process, so a resumed run would draw other rows.
    """
    text = json.dumps(parts, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
