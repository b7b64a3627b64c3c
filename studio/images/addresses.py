"""The policy on network addresses that images may be fetched from.

Task data can name any URL, so without a policy everyone who can create a task could make us ask
machines that only we can reach (server-side request forgery; see OWASP's "SSRF Prevention Cheat
Sheet"). The check is on the address that is connected to, not on the name: the host is resolved
once and the connection goes to the address that was checked, so a name that resolves differently
the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Prefixes that carry an IPv4 address in their last 32 bits (RFC 6052, RFC 4291 section 2.5.5.1).
_EMBEDDING = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
# Metadata services outside the link-local networks: AWS on IPv6, Alibaba Cloud.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))


class ForbiddenAddressError(Exception):
    """A host has no address that the policy allows; the message says what to do."""


@dataclass(frozen=True)
class AddressPolicy:
    """Only public addresses, unless more is allowed.

    `allow_private` adds private, shared and loopback networks, but never the addresses where
    clouds hand out their credentials (link-local ones, and two more). `allowed` holds host names,
    and networks such as `10.1.0.0/16`, that are allowed whatever they are. Label Studio's own
    origin needs no permission here.
    """

    allow_private: bool = False
    allowed: tuple[str, ...] = ()

    def allows(self, host: str, address: str) -> bool:
        """May `address`, which `host` resolved to, be connected to?"""
        if host.lower().rstrip(".") in self._allowed_hosts():
            return True
        ip = ipaddress.ip_address(address.partition("%")[0])
        if any(ip.version == network.version and ip in network for network in self._networks()):
            return True
        return all(self._allows(form) for form in _forms(ip))

    def _allows(self, ip: Address) -> bool:
        if ip.is_multicast or ip.is_unspecified or ip.is_link_local or ip in _METADATA:
            return False
        return ip.is_global or self.allow_private

    def _allowed_hosts(self) -> Iterable[str]:
        return (entry.lower().rstrip(".") for entry in self.allowed)

    def _networks(self) -> Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        for entry in self.allowed:
            try:
                yield ipaddress.ip_network(entry, strict=False)
            except ValueError:
                continue  # a host name


def resolve(host: str, port: int, policy: AddressPolicy) -> list[str]:
    """The addresses of `host` that may be connected to, in the system's order of preference.

    Raises ForbiddenAddressError when it has none, and OSError when it can't be resolved.
    """
    answers = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))
    allowed = [address for address in addresses if policy.allows(host, address)]
    if not allowed:
        raise ForbiddenAddressError(
            f"{host} is at {', '.join(addresses)}, which is not a public address; "
            "an admin can allow that host or network"
        )
    return allowed


class CheckedBackend(httpcore.NetworkBackend):
    """Opens connections for httpcore, only to addresses that the policy allows."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the host, if the policy allows its address."""
        try:
            addresses = resolve(host, port, self._policy)
        except OSError as exc:
            raise httpcore.ConnectError(f"{host} can't be resolved: {exc}") from exc
        failure: Exception | None = None
        for address in addresses:
            try:
                return self._sockets.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure or httpcore.ConnectError(f"{host} has no address")


def _forms(ip: Address) -> list[Address]:
    """The address, and the IPv4 address inside it if it is a transition form of one."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return [ip]
    if ip.ipv4_mapped is not None:
        return [ip.ipv4_mapped]
    if ip.sixtofour is not None:
        return [ip, ip.sixtofour]
    if any(ip in network for network in _EMBEDDING):
        return [ip, ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)]
    return [ip]
