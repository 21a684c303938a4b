"""Why the demo ends early."""


class DemoError(Exception):
    """The demo cannot be run, or has failed; the message says why."""
