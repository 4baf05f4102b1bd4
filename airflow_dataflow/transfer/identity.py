"""What makes two attempts attempts at the same transfer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from airflow_dataflow.transfer.options import TransferOptions


def transfer_id(sources: Sequence[str], target: str, options: TransferOptions) -> str:
    """Return the id of a transfer, by which an attempt finds the journal of those before it.

    :param sources: URLs, paths, or fixed references of versions.
    :param target: URL, path or name of a tier.
    :param options: of these count those that change what lies at the target; how fast it goes or how it is verified
        does not.
    :returns: 32 characters.
    """
    content = [[without_password(source) for source in sources], without_password(target)]
    text = json.dumps([*content, options.compress, options.pack])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def without_password(url: str) -> str:
    """Return a URL without a user and a password; one name before the host is the id of a connection, and stays."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#@]*:[^/?#]*@", r"\1", url)
