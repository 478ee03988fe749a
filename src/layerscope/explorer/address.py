"""Where the explorer's server listens: on loopback, which no other machine reaches."""

HOST, PORT = "127.0.0.1", 8377
"""If it is not told otherwise."""
BOUND = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}
"""The hosts that it may be told, and the address that each is."""
USUAL = 80
"""The port of addresses that name none."""


def own_hosts(port: int) -> tuple[str, ...]:
    """How a browser that asks at a port of this machine may name it: without the port where that is the usual one."""
    return tuple(named(host) if port == USUAL else f"{named(host)}:{port}" for host in BOUND)


def named(host: str) -> str:
    """A host as addresses have it."""
    return f"[{host}]" if ":" in host else host
