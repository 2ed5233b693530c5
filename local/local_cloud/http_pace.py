"""How Python reads the header fields of HTTP responses, at a fraction of the cost.

`http.client` has them read by its e-mail parser, line by line, for what e-mail may hold: for the small
answers of a local cloud that is a fourteenth of all that a suite of tests does. Here a block of plain
`Name: value` lines is read as such. Invariant: a block with anything else in it goes Python's way.
"""

import http.client
import io
import re
from http.client import HTTPMessage
from typing import Any

READ: Any = vars(http.client)["parse_headers"]
READ_LINES: Any = vars(http.client)["_read_headers"]
PLAIN_LINE = re.compile(rb"([!-9;-~]+):[ \t]*([^\r\n]*)\r\n")
"""A field on one line; one that goes on in the next begins with a blank, and so does not match."""


def quicken() -> None:
    """Put the faster way in the place of Python's."""
    vars(http.client)["parse_headers"] = parse_headers


def parse_headers(stream: Any, _class: type[HTTPMessage] = HTTPMessage) -> HTTPMessage:
    """Read a block of header fields, as Python's function of this name does."""
    lines: list[bytes] = READ_LINES(stream)
    fields = [PLAIN_LINE.fullmatch(line) for line in lines[:-1]]
    message = _class()
    for field in fields:
        if field is None:
            whole: HTTPMessage = READ(io.BytesIO(b"".join(lines)), _class)
            return whole
        message.set_raw(field[1].decode("ascii"), field[2].decode("latin-1"))
    message.set_payload("")
    return message
