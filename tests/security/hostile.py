"""Texts that mean something to SQL, to a shell, to a terminal or to rich, and must mean nothing here."""

ODD_MODE = "NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT"
"""A mode of a session in which quotes, backslashes and pipes mean something else."""

SQL = (
    "'; DROP TABLE chat_histories; --",
    "x' OR '1'='1",
    "'), ('x', 'y'); -- ",
    '" OR ""="',
    "` OR `1`=`1",
    "\\' OR 1=1 -- ",
    "\\",
    "\\0\\'",
    "/* */; /*! DROP TABLE chat_histories */",
    "'' || (SELECT 1) || ''",
    "${jndi} $(id) `id` %s %(id)s {0}",
    "%_%",
    "\0 after NUL \x1a\r\n",
    "$[*].id",
    "\u02bc\uff07 OR 1=1 \U0001f600",
)

QUOTES = tuple(text for text in SQL if set(text) & set("'\"`\\"))
"""Those that a sql_mode may matter to."""

LONG = "'" * 70_000
"""Longer than any column but the payload."""

TERMINAL = "[red]x[/] \x1b[2J\x1b]0;owned\x07\x9b2J\x1b[1A\u202e\ry"
"""Clears the screen, sets the title and rewrites the line where it is printed as it is; in rich's markup it is red."""
ON_THE_LINE = "[red]x[/]"
"""What of it a person is to see."""


def is_obeyed(output: str) -> bool:
    """Whether a terminal would do what TERMINAL says; the styles that rich itself sets are no matter."""
    return any(order in output for order in ("\x1b[2J", "\x1b]0", "\x07", "\x9b", "\x1b[1A", "\u202e", "\ry"))
