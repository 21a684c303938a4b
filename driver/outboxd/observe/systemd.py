"""Messages of a service of Type=notify to systemd: sd_notify(3), a datagram to $NOTIFY_SOCKET."""

import os
import socket
import time


def notify(state: str) -> None:
    """Send READY=1, STOPPING=1 or WATCHDOG=1; does nothing where $NOTIFY_SOCKET is not set."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagrams:
            datagrams.settimeout(1)
            try:
                datagrams.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
            except OSError:
                return  # systemd restarts a service that it does not hear from


def reloading() -> str:
    """The message that settings are read again, for a service of Type=notify-reload; READY=1 ends that."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_seconds() -> float | None:
    """Seconds between two WATCHDOG=1: half of $WATCHDOG_USEC, as sd_watchdog_enabled(3) advises; None: send none."""
    microseconds = int(os.environ.get("WATCHDOG_USEC") or 0)
    is_for_me = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return microseconds / 2_000_000 if microseconds and is_for_me else None
