"""Where this package keeps what it downloads and what its servers write."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def cache_dir() -> Path:
    """The checkout's ``.cache`` folder, made if missing."""
    cache = CHECKOUT / ".cache"
    cache.mkdir(exist_ok=True)
    return cache
