"""Which addresses may be connected to: those of the public internet, unless private ones are allowed. Pure."""

from __future__ import annotations

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What is not globally reachable by the special-purpose registries of IANA, and the ranges that carry an IPv4 address
# inside: a translator may lead from there to any private one. Written out, as `is_global` differs between versions of
# Python.
_REFUSED: dict[str, tuple[str, ...]] = {
    "a private address": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "a loopback address": ("127.0.0.0/8", "::1/128"),
    "an unspecified address": ("0.0.0.0/8", "::/128"),
    "a link-local address": ("169.254.0.0/16", "fe80::/10"),
    "an address of a provider's own network (CGNAT)": ("100.64.0.0/10",),
    "a multicast address": ("224.0.0.0/4", "ff00::/8"),
    "an address with an IPv4 address inside (mapped)": ("::ffff:0:0/96", "::ffff:0:0:0/96", "::/96"),
    "an address with an IPv4 address inside (NAT64)": ("64:ff9b::/96", "64:ff9b:1::/48"),
    "an address with an IPv4 address inside (6to4)": ("2002::/16", "192.88.99.0/24"),
    "an address with an IPv4 address inside (Teredo)": ("2001::/32",),
    "a reserved address": (
        "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
        "100::/64", "2001:2::/48", "2001:10::/28", "2001:20::/28", "2001:db8::/32", "3fff::/20", "5f00::/16",
    ),
}  # fmt: skip

_RANGES = [(ipaddress.ip_network(text), why) for why, texts in _REFUSED.items() for text in texts]
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")


def refusal(address: str) -> str | None:
    """Say what kind of address it is, where it is not a public one; None where it is.

    Args:
        address: IPv4 or IPv6 as text, perhaps with a zone ("fe80::1%eth0").
    """
    try:
        parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "no internet address"
    for network, why in _RANGES:
        if parsed.version == network.version and parsed in network:
            return why
    if parsed.version == 6 and parsed not in _PUBLIC_IPV6:
        return "a reserved address"
    return None


def literal(host: str) -> str | None:
    """Return the address that a URL's host says itself, in any of the ways that are understood; None for a name.

    Args:
        host: such as "example.com", "127.0.0.1", "::1", "0x7f.1" or "2130706433".
    """
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if host[:1].isdigit() and " " not in host else None
    except OSError:
        return None
