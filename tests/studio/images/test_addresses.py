"""Which addresses may be asked for an image."""

import socket
from typing import Any

import httpcore
import pytest
from pydantic import ValidationError

from store.settings import Settings
from studio.images.addresses import (
    AddressPolicy,
    CheckedBackend,
    ForbiddenAddressError,
    parse_addresses,
    resolve,
)

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
PRIVATE = [
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "127.0.0.1",
    "127.8.9.10",
    "0.1.2.3",
    "100.64.0.1",
    "198.18.0.1",
    "240.0.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "::ffff:0:7f00:1",
    "64:ff9b:1::7f00:1",
    "2001:0:7f00:1::1",
    "fec0::1",
    "2001:db8::1",
    "100::1",
    "255.255.255.255",
]
NEVER = [
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fd00:ec2::23",
    "fd20:ce::254",
    "::ffff:168.63.129.16",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert AddressPolicy().allows("host.example", address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_permission(address: str) -> None:
    assert not AddressPolicy().allows("host.example", address)
    assert AddressPolicy(allow_private=True).allows("host.example", address)


@pytest.mark.parametrize("address", NEVER)
def test_credentials_and_group_addresses_are_refused_even_where_private_ones_are_allowed(
    address: str,
) -> None:
    assert not AddressPolicy().allows("host.example", address)
    assert not AddressPolicy(allow_private=True).allows("host.example", address)


def test_a_host_or_network_can_be_allowed_by_itself() -> None:
    policy = AddressPolicy(allowed=("MinIO.local", "10.1.0.0/16", "fd00:1::/32"))
    assert policy.allows("minio.LOCAL.", "192.168.7.7")
    assert policy.allows("other", "10.1.2.3")
    assert policy.allows("other", "fd00:1::5")
    assert not policy.allows("other", "10.2.0.1")
    assert not policy.allows("notminio.local", "192.168.7.7")


def test_an_allowed_name_is_not_allowed_to_be_at_a_metadata_service() -> None:
    policy = AddressPolicy(allowed=("minio.local",))
    assert policy.allows("minio.local", "10.0.0.5")
    assert not policy.allows("minio.local", "169.254.169.254")
    assert not policy.allows("minio.local", "fd00:ec2::254")
    assert AddressPolicy(allowed=("169.254.7.0/24",)).allows("nas", "169.254.7.9")


def test_the_refusal_names_the_setting_and_the_setting_works() -> None:
    with pytest.raises(ForbiddenAddressError) as caught:
        resolve("localhost", 80, AddressPolicy())
    setting, _, value = str(caught.value).partition("allows")[0].partition(": ")[2].partition("=")
    assert setting == "APPRENTICE_IMAGE_PRIVATE_ADDRESSES"
    chosen = Settings(image_private_addresses=value.strip()).image_private_addresses
    assert resolve("localhost", 80, parse_addresses(chosen))
    for everything in ("true", "1", "yes"):
        chosen = Settings(image_private_addresses=everything).image_private_addresses
        assert resolve("localhost", 80, parse_addresses(chosen))
    assert parse_addresses(Settings().image_private_addresses) == AddressPolicy()


@pytest.mark.parametrize("value", ["10.0.0.0/99", "two words", "a;b", "http://minio.local"])
def test_a_wrong_setting_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match=r"network|host"):
        Settings(image_private_addresses=value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "0x7f000001", "2130706433"])
def test_every_spelling_of_loopback_is_refused(host: str) -> None:
    with pytest.raises(ForbiddenAddressError, match="not a public address"):
        resolve(host, 80, AddressPolicy())


def test_of_several_addresses_only_allowed_ones_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
        for address in ("10.0.0.1", "93.184.216.34")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: answers)
    assert resolve("mixed.example", 80, AddressPolicy()) == ["93.184.216.34"]


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lookups: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *args: Any, **kwargs: Any) -> Any:
        if host != "rebinding.example":
            return real(host, *args, **kwargs)
        lookups.append(host)
        address = "127.0.0.1" if len(lookups) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, args[0]))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    policy = AddressPolicy(allowed=("127.0.0.1/32",))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        stream = CheckedBackend(policy).connect_tcp("rebinding.example", port, timeout=5.0)
        assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
        stream.close()
    assert lookups == ["rebinding.example"]
    with pytest.raises(ForbiddenAddressError):
        CheckedBackend(policy).connect_tcp("rebinding.example", port, timeout=5.0)


def test_a_name_that_does_not_resolve_is_a_connect_error() -> None:
    with pytest.raises(httpcore.ConnectError, match="resolved"):
        CheckedBackend(AddressPolicy()).connect_tcp("no-such-host.invalid", 80, timeout=5.0)
