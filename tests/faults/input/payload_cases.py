"""Every class of payload that is JSON and wrong for chat, or odd and yet right, with what has to become of it."""

from collections.abc import Iterator
from dataclasses import dataclass

_MEMBERS = {"user_id": "7", "conversation_id": '"c"', "role": '"user"', "message": '"hi"'}
_REQUIRED = {
    "user_id": "user_id must be an integer, it is ",
    "conversation_id": "conversation_id must be a text of 1 to 255 characters, it is ",
    "role": "role must be a text of 1 to 32 characters, it is ",
    "message": "message must be a text, it is ",
}


@dataclass(frozen=True, slots=True)
class Dead:
    """Accepted by the enqueue, and dead when it is consumed; last_error is this."""

    name: str
    payload: str
    last_error: str


@dataclass(frozen=True, slots=True)
class Chat:
    """Accepted, and this row of chat_histories."""

    name: str
    payload: str
    conversation: str
    text: str
    user_id: int = 7
    role: str = "user"


@dataclass(frozen=True, slots=True)
class Refused:
    """Refused by the enqueue with error 30003 and a text that begins with this."""

    name: str
    payload: str
    says: str


def _chat(**members: str) -> str:
    """A payload; each member as JSON text, one that is empty is missing."""
    given = {**_MEMBERS, **members}
    return "{" + ",".join(f'"{name}":{value}' for name, value in given.items() if value) + "}"


# How each value is shown: as the server writes JSON. A text of the right type is without its quotes, and of an error's
# text the server keeps nothing beyond the Basic Multilingual Plane.
_WRONG = {
    "user_id": [
        ("null", "null"),
        ('"7"', '"7"'),
        ('""', '""'),
        ("true", "true"),
        ("[7]", "[7]"),
        ('{"id":7}', '{"id": 7}'),
        ("1.5", "1.5"),
        ("7.0", "7.0"),
        ("7e0", "7.0"),
        (str(2**63), str(2**63)),
        (str(-(2**63) - 1), "-9.223372036854776e18"),
        (str(2**64), "1.8446744073709552e19"),
        ("9" * 300, "1e300"),
    ],
    "conversation_id": [
        ("null", "null"),
        ("7", "7"),
        ("false", "false"),
        ('["c"]', '["c"]'),
        ('{"id":"c"}', '{"id": "c"}'),
        ('""', '""'),
        (f'"{"c" * 256}"', "c" * 60),
        (f'"{"🎉" * 256}"', "?" * 60),
    ],
    "role": [
        ("null", "null"),
        ("1.50", "1.5"),
        ("true", "true"),
        ("[]", "[]"),
        ("{}", "{}"),
        ('""', '""'),
        (f'"{"r" * 33}"', "r" * 33),
    ],
    "message": [
        ("null", "of type NULL"),
        ("7", "of type INTEGER"),
        ("-7.5", "of type DOUBLE"),
        ("true", "of type BOOLEAN"),
        ('["hi"]', "of type ARRAY"),
        ('{"text":"hi"}', "of type OBJECT"),
    ],
}
_NO_OBJECT = [
    ("[]", "ARRAY"),
    (f"[{_chat()}]", "ARRAY"),
    ('"hi"', "STRING"),
    ('"{}"', "STRING"),
    ("7", "INTEGER"),
    ("null", "NULL"),
    ("true", "BOOLEAN"),
    ("[" * 100 + "]" * 100, "ARRAY"),
]


def _dead() -> Iterator[Dead]:
    for member, required in _REQUIRED.items():
        yield Dead(f"{member} missing", _chat(**{member: ""}), f"{required}missing")
        yield Dead(
            f"{member} in capitals", _chat(**{member: ""})[:-1] + f',"{member.upper()}":7}}', f"{required}missing"
        )
        for value, shown in _WRONG[member]:
            yield Dead(f"{member} is {value[:30]}", _chat(**{member: value}), f"{required}{shown}")
    for payload, kind in _NO_OBJECT:
        yield Dead(f"{payload[:12]} at the top", payload, f"payload must be a JSON object, it is of type {kind}")
    yield Dead("empty object", " {\n}\t", "user_id must be an integer, it is missing")
    # As everywhere in the server, the last one of two members of one name counts.
    twice = _chat()[:-1] + ',"user_id":"x"}'
    yield Dead("user_id twice, the last wrong", twice, 'user_id must be an integer, it is "x"')


DEAD = list(_dead())

CHATS = [
    Chat("user_id least", _chat(user_id=str(-(2**63)), message='"least"'), "c", "least", -(2**63)),
    Chat("user_id greatest", _chat(user_id=str(2**63 - 1), message='"greatest"'), "c", "greatest", 2**63 - 1),
    Chat("further members", _chat(message='"more"')[:-1] + ',"x":null,"y":[{"user_id":"z"}]}', "c", "more"),
    Chat("99 levels deep", _chat(message='"deep"')[:-1] + ',"x":' + "[" * 99 + "]" * 99 + "}", "c", "deep"),
    Chat("a number of 300 digits", _chat(message='"long"')[:-1] + f',"x":{"9" * 300}}}', "c", "long"),
    Chat("user_id twice, the first wrong", '{"user_id":"x",' + _chat(message='"twice"')[1:], "c", "twice"),
    Chat("message twice", _chat(message='"first"')[:-1] + ',"message":"last"}', "c", "last"),
    Chat("whitespace around", "\r\n\t " + _chat(message='" around "') + " \n", "c", " around "),
    Chat("empty message", _chat(conversation_id='"silent"', message='""'), "silent", ""),
    Chat("spaces as names", _chat(conversation_id='" "', role='" "', message='"spaces"'), " ", "spaces", role=" "),
    Chat("NUL in message", _chat(message='"nul: \\u0000."'), "c", "nul: \0."),
    Chat("NUL in conversation_id", _chat(conversation_id='"c\\u0000d"', message='"nul"'), "c\0d", "nul"),
    Chat("surrogate pair", _chat(message='"pair: \\ud83c\\udf89"'), "c", "pair: 🎉"),
    Chat("control characters", _chat(message='"ctl: \\u0001\\u001f\\u007f\\uffff"'), "c", "ctl: \x01\x1f\x7f\uffff"),
    Chat("255 letters", _chat(conversation_id=f'"{"🎉" * 255}"', message='"255"'), "🎉" * 255, "255"),
    Chat("32 letters", _chat(role=f'"{"漢" * 32}"', message='"32"'), "c", "32", role="漢" * 32),
    Chat("SQL", _chat(message='"\'; DROP TABLE chat_histories; -- \\\\"'), "c", "'; DROP TABLE chat_histories; -- \\"),
]

_INVALID = "p_payload is not valid JSON: "
REFUSED = [
    Refused("101 levels deep", "[" * 101 + "]" * 101, "p_payload is nested deeper than 100 levels: [[["),
    Refused("lone high surrogate", _chat(message='"\\ud800"'), _INVALID),
    Refused("lone low surrogate", _chat(message='"\\udc00"'), _INVALID),
    Refused("surrogates in the wrong order", _chat(message='"\\udf89\\ud83c"'), _INVALID),
    Refused("NUL as it is", _chat(message='"\0"'), _INVALID),
    Refused("line feed in a text", _chat(message='"\n"'), _INVALID),
    Refused("number beyond a double", _chat(user_id="1e400"), _INVALID),
    Refused("number of 400 digits", _chat(user_id="9" * 400), _INVALID),
    Refused("number with a leading zero", _chat(user_id="07"), _INVALID),
    Refused("not a number", _chat(user_id="NaN"), _INVALID),
    Refused("two values", _chat() * 2, _INVALID),
    Refused("nothing", "", _INVALID),
]
