"""Addresses that lead to where only the server gets, as a task or a redirect may name them."""

from __future__ import annotations

from collections.abc import Iterator

LOOPBACK = (
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.8.9.10",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "2130706433",
    "0",
    "0.0.0.0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[::ffff:0:127.0.0.1]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "127.0.0.1%00.example.com",
)
METADATA = (
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "169.254.170.2",
    "169.254.42.42",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
    "[fd20:ce::254]",
    "[fd00:42::42]",
    "169.254.0.23",
)
PRIVATE = (
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "192.168.1.254",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    "255.255.255.255",
    "224.0.0.1",
    "239.1.1.1",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[2001::1]",
    "[100::1]",
    "[::ffff:10.0.0.1]",
    "[2002:a00:1::]",
    "[2002:c0a8:101::]",
    "0x0a000001",
    "167772161",
    "3232235777",
    "0.1.2.3",
)
TRICKS = (
    "http://good.example@{host}:{port}/",
    "http://{host}:{port}#@good.example/",
    "http://{host}:{port}?@good.example/",
    "http:\\\\{host}:{port}\\",
    "http:///{host}:{port}/",
    "http:{host}:{port}/",
    "HTTP://{host}:{port}/",
    "//{host}:{port}/",
    "\\\\{host}:{port}\\",
    "/\\{host}:{port}/",
    "http://{host}:{port}/%2e%2e/",
    " http://{host}:{port}/ ",
    "http://{host}:{port}\\@good.example/",
    "http://user:pass@{host}:{port}/",
)
SCHEMES = (
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "ftp://{host}/a.jpg",
    "gopher://{host}:{port}/_x",
    "dict://{host}:{port}/",
    "ldap://{host}/",
    "jar:http://{host}:{port}/a!/b",
    "netdoc:///etc/passwd",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "tftp://{host}/x",
    "javascript:alert(1)",
    "blob:http://{host}:{port}/x",
    "view-source:http://{host}:{port}/",
    "ws://{host}:{port}/",
    "data:text/html,<img src=http://{host}:{port}/>",
)
API = (
    "/api/current-user/token",
    "/api/token/",
    "/api/projects/",
    "/api/../api/current-user/token",
    "/data/../api/current-user/token",
    "/data/upload/../../api/current-user/token",
    "/data/upload/%2e%2e/%2e%2e/api/current-user/token",
    "/data/upload/..%2f..%2fapi/current-user/token",
    "/data/upload/..%5c..%5capi/current-user/token",
    "/data/upload/%252e%252e/%252e%252e/api/token/",
    "/data/upload/..;/..;/api/current-user/token",
    "/tasks/1/resolve/../../../api/current-user/token",
    "\\api\\current-user\\token",
    "/user/login/",
    "/admin/",
    "/django-rq/",
    "/metrics",
    "/version/",
    "//api/current-user/token",
    "/./api/current-user/token",
    "/%61pi/current-user/token",
)


def forbidden_uris(port: int) -> Iterator[str]:
    """URIs that lead to loopback, private and metadata addresses, each more than once.

    `port` is that of a server on this machine that must not be asked.
    """
    for host in (*LOOPBACK, *METADATA, *PRIVATE):
        yield f"http://{host}:{port}/secret.jpg"
    for host in ("127.0.0.1", "[::1]", "169.254.169.254"):
        for trick in (*TRICKS, *SCHEMES):
            yield trick.format(host=host, port=port)


def api_uris(studio: str) -> Iterator[str]:
    """URIs of Label Studio's own that are no images: relative, and with its address."""
    for path in API:
        yield path
        yield studio + path
