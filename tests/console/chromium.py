"""The browser: the system's Chromium, driven by Playwright, which brings none of its own."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.servers.missing import skip_or_fail

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")


def _program() -> str:
    named = os.environ.get("OUTBOXD_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        skip_or_fail("there is no Chromium: install Debian's package chromium, or name one by OUTBOXD_CHROMIUM")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless browser. As root it has no sandbox: it sees nothing but the console."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    program = _program()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=options)
        yield started
        started.close()
