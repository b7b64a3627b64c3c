"""The policy on network addresses that images may be fetched from.

Task data can name any URL, so without a policy everyone who can create a task could make us ask
machines that only we can reach (server-side request forgery; see OWASP's "SSRF Prevention Cheat
Sheet"). The check is on the address that is connected to, not on the name: the host is resolved
once and the connection goes to the address that was checked, so a name that resolves differently
the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from studio.deadlines import DeadlineBackend, lookup

SETTING = "APPRENTICE_IMAGE_PRIVATE_ADDRESSES"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Prefixes that carry an IPv4 address in their last 32 bits (RFC 6052, RFC 4291 section 2.5.5.1,
# RFC 2765 section 2.1).
_EMBEDDING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
# Where all public IPv6 addresses are; the well-known prefix of NAT64 stands for an IPv4 address.
_PUBLIC_IPV6 = tuple(map(ipaddress.IPv6Network, ("2000::/3", "64:ff9b::/96")))
# Metadata services and clouds' own hosts outside of the link-local networks: AWS, Google, Scaleway
# on IPv6; Alibaba, Oracle, Azure.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42",
            "100.100.100.200", "192.0.0.192", "168.63.129.16",
        ),
    )
)  # fmt: skip


class ForbiddenAddressError(Exception):
    """A host has no address that the policy allows; the message says what to do."""


@dataclass(frozen=True)
class AddressPolicy:
    """Only public addresses, unless more is allowed.

    `allow_private` adds private, shared and loopback networks, but never the addresses where
    clouds hand out their credentials (link-local ones, and a few more). `allowed` holds host names
    for which the same holds, and networks such as `10.1.0.0/16`, that are allowed whatever they
    are. Label Studio's own images need no permission here.
    """

    allow_private: bool = False
    allowed: tuple[str, ...] = ()

    def allows(self, host: str, address: str) -> bool:
        """May `address`, which `host` resolved to, be connected to?"""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if any(ip.version == network.version and ip in network for network in self._networks()):
            return True
        private = self.allow_private or _plain(host) in map(_plain, self.allowed)
        return all(
            not _is_never_allowed(form) and (private or _is_public(form)) for form in _forms(ip)
        )

    def _networks(self) -> Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        for entry in self.allowed:
            with contextlib.suppress(ValueError):  # a host name
                yield ipaddress.ip_network(entry, strict=False)


def parse_addresses(value: str) -> AddressPolicy:
    """The policy for the setting's value: true, false, or hosts and networks between commas.

    Raises ValueError for what is neither.
    """
    word = value.strip().lower()
    if word in ("true", "1", "yes", "on", "false", "0", "no", "off", ""):
        return AddressPolicy(allow_private=word in ("true", "1", "yes", "on"))
    entries = tuple(filter(None, (entry.strip() for entry in value.split(","))))
    for entry in entries:
        if "/" in entry:
            ipaddress.ip_network(entry, strict=False)  # the error names the entry
        elif not re.fullmatch(r"[A-Za-z0-9._:-]+", entry):
            raise ValueError(f"{entry!r} is neither a host nor a network such as 10.1.0.0/16")
    return AddressPolicy(allowed=entries)


def resolve(host: str, port: int, policy: AddressPolicy, timeout: float | None = None) -> list[str]:
    """The addresses of `host` that may be connected to, in the system's order of preference.

    Raises ForbiddenAddressError when it has none, and httpcore's errors when it can't be resolved.
    """
    host = host.strip("[]")
    addresses = lookup(host, port, timeout)
    allowed = [address for address in addresses if policy.allows(host, address)]
    if not allowed:
        raise ForbiddenAddressError(_refusal(host, addresses))
    return allowed


class CheckedBackend(DeadlineBackend):
    """Opens connections for httpcore, only to addresses that the policy allows."""

    def __init__(self, policy: AddressPolicy) -> None:
        super().__init__()
        self._policy = policy

    def addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        """The host's addresses that the policy allows. Raises ForbiddenAddressError."""
        return resolve(host, port, self._policy, timeout)


def _refusal(host: str, addresses: list[str]) -> str:
    """Why a host is refused, and what an admin can do."""
    where = f"{host} is at {', '.join(addresses[:4])}" if addresses != [host] else host
    forms = (
        form for one in addresses for form in _forms(ipaddress.ip_address(one.partition("%")[0]))
    )
    if any(map(_is_never_allowed, forms)):
        return f"{where} is not a public address: images are never fetched from there"
    return (
        f"{where}, which is not a public address: {SETTING}={host} allows it, "
        f"{SETTING}=true allows all private ones"
    )


def _plain(host: str) -> str:
    return host.strip("[]").lower().rstrip(".")


def _is_never_allowed(ip: Address) -> bool:
    return ip.is_multicast or ip.is_unspecified or ip.is_link_local or ip in _METADATA


def _is_public(ip: Address) -> bool:
    if isinstance(ip, ipaddress.IPv6Address) and not any(ip in network for network in _PUBLIC_IPV6):
        return False
    return ip.is_global


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
