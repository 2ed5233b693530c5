"""Serves `GET` with a `Range` without moto reading the whole object for it.

moto answers the same request as a HEAD, with all its headers and conditions, and the bytes are read in place.
Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html and RFC 9110, section 14.
"""

import re
from typing import Any

from werkzeug.wrappers import Response

from local_cloud.call import AwsError, Call, PassOn
from local_cloud.services.s3.store import object_at, read_range


def get_object(call: Call, pass_on: PassOn) -> None:
    """Return a range of an object; moto handles anything but a plain range."""
    stored = object_at(call.params["Bucket"], call.params["Key"], call.params.get("VersionId"))
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", call.params.get("Range", ""))
    is_plain = not any(name.startswith("Response") or name == "PartNumber" for name in call.params)
    if stored is None or not wanted or not any(wanted.groups()) or not is_plain:
        return
    response = _headers(call, pass_on)
    if response.status_code == 200:
        _fill(response, stored, wanted)
    else:
        pass_on()  # the answer to a HEAD has no body to say what is wrong


def _headers(call: Call, pass_on: PassOn) -> Response:
    """Return moto's answer to a HEAD of the whole object."""
    span = call.environ.pop("HTTP_RANGE")
    call.environ["REQUEST_METHOD"] = "HEAD"
    try:
        return pass_on()
    finally:
        call.environ["REQUEST_METHOD"] = "GET"
        call.environ["HTTP_RANGE"] = span


def _fill(response: Response, stored: Any, wanted: re.Match[str]) -> None:
    """Change the answer about the whole object into one about the range."""
    size: int = stored.size
    begin, end = _span(wanted[1], wanted[2], size)
    if begin > end:  # last before first: as if no range had been requested
        response.set_data(read_range(stored, 0, size))
        return
    if begin >= size:
        raise AwsError("InvalidRange", "The requested range is not satisfiable", 416)
    for name, _ in list(response.headers):
        if name.lower().startswith("x-amz-checksum-") and end - begin + 1 < size:
            del response.headers[name]  # it is the checksum of the whole
    response.status_code = 206
    response.headers["Content-Range"] = f"bytes {begin}-{end}/{size}"
    response.set_data(read_range(stored, begin, end + 1))


def _span(first: str, last: str, size: int) -> tuple[int, int]:
    """Return the first and the last byte meant; a first byte of `size` or more cannot be served."""
    if not first:  # the last N bytes
        return (max(0, size - int(last)), max(size - 1, 0)) if int(last) and size else (size, size)
    begin = int(first)
    if begin >= size:
        return size, size
    return begin, min(int(last), size - 1) if last else size - 1
