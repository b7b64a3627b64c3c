"""Limits wrong passwords by address, without locking out who knows the right one."""

import ipaddress
import threading

from cachetools import TTLCache

WRONG = 10  # wrong passwords of one address within WRONG_SECONDS
WRONG_SECONDS = 60.0
WRONG_ALL = 1_000  # of all addresses together
KNOWN_SECONDS = 3_600.0  # after a right password, an address is never blocked
ADDRESSES = 10_000
EVERYBODY = ""  # stands for all addresses


class LoginThrottle:
    """Counts wrong passwords.

    An address with many of them is blocked: its passwords aren't even compared. One that gave the
    right password lately isn't, since Label Studio may share it with others (a proxy, a container's
    gateway); its wrong passwords are still refused as too many.
    """

    def __init__(self) -> None:
        self._wrong: TTLCache[str, int] = TTLCache(ADDRESSES, WRONG_SECONDS)
        self._known: TTLCache[str, None] = TTLCache(ADDRESSES, KNOWN_SECONDS)
        self._lock = threading.Lock()

    def blocks(self, address: str) -> bool:
        """Whether a password from this address is refused unseen."""
        network = _network(address)
        with self._lock:
            return network not in self._known and self._too_many(network)

    def passes(self, address: str, *, accepted: bool) -> bool:
        """Note a compared password; false for a wrong one after too many."""
        network = _network(address)
        with self._lock:
            if accepted:
                self._known[network] = None
                return True
            for key in (network, EVERYBODY):
                self._wrong[key] = self._wrong.get(key, 0) + 1
            return not self._too_many(network)

    def _too_many(self, network: str) -> bool:
        by_all = self._wrong.get(EVERYBODY, 0)
        return self._wrong.get(network, 0) > WRONG or by_all > WRONG_ALL


def _network(address: str) -> str:
    """The address, or the /64 network of an IPv6 one: its owner has all of it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
