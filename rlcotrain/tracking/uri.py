"""Secrets in a tracker's address: refused where one is configured, left out where one is shown."""

from __future__ import annotations

import re
from urllib.parse import unquote

# scheme://user:password@host; a password may hold what ought to be %-encoded in it.
USERINFO = re.compile(r"(?<=://)(?:[^/?#\s]*@|[^/?#\s:\[]*:(?!\d*(?:[/?#\s]|$))\S*@)")
# ?password=...; drivers write it as PWD too, signed addresses of clouds as sig.
WORDS = (
    "password|passwd|passphrase|pwd|token|secret|credential|api[_-]?key|access[_-]?key|signature"
)
NAMES = rf"[\w.-]*(?:{WORDS})[\w.-]*|sig|odbc_connect"
QUERY = re.compile(rf"([?&;#](?:{NAMES})=)[^&;#\s'\"]+", re.IGNORECASE)


def check_uri(uri: str) -> None:
    """ValueError, which does not repeat it, for a secret in an address, which many files hold.

    A user without a password may be a token where a server is meant, but not of a database.
    """
    address = unquote(uri if "://" in uri else f"://{uri.lstrip('/')}")
    user = USERINFO.search(address)
    if QUERY.search(address) or (user and (":" in user[0] or uri.lower().startswith("http"))):
        raise ValueError(
            f"tracking.uri={redacted(address).removeprefix('://')}: must hold no password or "
            "token; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or "
            "MLFLOW_TRACKING_TOKEN) in the environment"
        )


def redacted(text: str) -> str:
    """A text, with *** for user and password, or token, of every address in it."""
    return QUERY.sub(r"\1***", USERINFO.sub("***@", text))
