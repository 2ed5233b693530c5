"""Makes Python read the header fields of HTTP responses at a fraction of the cost.

`http.client` has them read by the e-mail parser, line by line, with everything that e-mail allows. For the
small answers of a local cloud that is a fourteenth of the time of a test suite. Here a block of plain
`Name: value` lines is read directly. Invariant: Python itself reads any other block.
"""

import http.client
import io
import re
from http.client import HTTPMessage
from typing import Any

READ: Any = vars(http.client)["parse_headers"]
READ_LINES: Any = vars(http.client)["_read_headers"]
PLAIN_LINE = re.compile(rb"([!-9;-~]+):[ \t]*([^\r\n]*)\r\n")
"""A field on one line; a continuation line begins with a blank and does not match."""


def quicken() -> None:
    """Replace Python's implementation with the faster one."""
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
