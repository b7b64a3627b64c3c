"""Access tokens that the processes of one machine share.

A Personal Access Token is exchanged for an access token that is good for five minutes. Each job has
a process of its own, and would begin with an exchange.
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
from pathlib import Path


class AccessTokenFile:
    """A file with the access token of one Label Studio and Personal Access Token.

    Only its owner may read it. Whatever goes wrong with it costs an exchange, and nothing else.
    """

    def __init__(self, home: Path, url: str, token: str) -> None:
        name = hashlib.sha256(f"{url} {token}".encode()).hexdigest()[:16]
        self._file = home / "run" / f"access-{name}.json"

    def recall(self) -> tuple[str, float] | None:
        """The access token, and how many seconds it is still good."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self._file.read_text())
            return str(kept["access"]), float(kept["until"]) - time.time()
        return None

    def keep(self, access: str, seconds: float) -> None:
        """Write the access token, in place of an earlier one."""
        new = self._file.with_suffix(f".{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                json.dump({"access": access, "until": time.time() + seconds}, stream)
            new.replace(self._file)
