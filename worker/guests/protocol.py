"""Messages between the guests' process and its clients: JSON behind its length in 4 bytes."""

import asyncio
import json
import struct
from typing import Any

HEADER = struct.Struct(">I")
LONGEST = 512_000_000  # bytes; masks of hundreds of tasks


async def read_message(reader: asyncio.StreamReader) -> Any:
    """The next message; None at the end of the connection."""
    try:
        (length,) = HEADER.unpack(await reader.readexactly(HEADER.size))
        if length > LONGEST:
            raise ValueError(f"a message of {length:,} bytes")
        return json.loads(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        return None


async def write_message(writer: asyncio.StreamWriter, message: Any) -> None:
    """Send a message."""
    body = json.dumps(message).encode("utf-8", "replace")
    writer.write(HEADER.pack(len(body)) + body)
    await writer.drain()
