"""The one exception of this package."""


class ServerError(Exception):
    """A server cannot be had, started or stopped; the message is one line meant for a person.

    A second part after a newline (the tail of a log) may follow where it is the only clue.
    """
