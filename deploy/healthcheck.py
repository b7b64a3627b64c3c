"""The containers' health check: exit 0 when the process answers, 1 with the reason when not.

`healthcheck.py web` asks GET /health, with the basic authentication of the environment.
`healthcheck.py inference` connects to the inference process's unix socket.
It imports nothing of ours: it is started every few seconds.
"""

import base64
import http.client
import os
import socket
import sys
from pathlib import Path

TIMEOUT = 3  # seconds


def web() -> None:
    """Ask the web process of this container; raises OSError or RuntimeError when it is not well."""
    headers = {}
    if user := os.environ.get("BASIC_AUTH_USER"):
        pair = f"{user}:{os.environ.get('BASIC_AUTH_PASS', '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    port = int(os.environ.get("APPRENTICE_PORT") or 9090)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/health", headers=headers)
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        raise RuntimeError(f"GET /health answered {status}")


def inference() -> None:
    """Connect to the inference process's socket; raises OSError when nobody listens."""
    path = Path(os.environ["APPRENTICE_HOME"]) / "run" / "inference.sock"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(str(path))


def main(what: str) -> int:
    """Check `what` ("web" or "inference"); the exit status."""
    try:
        {"web": web, "inference": inference}[what]()
    except (OSError, RuntimeError, http.client.HTTPException) as reason:
        sys.stderr.write(f"{what} is not well: {reason}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
