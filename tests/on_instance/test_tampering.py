"""A script that meddles with the runner, by mistake or on purpose: the job takes what it wrote, or fails."""

import hashlib

import pytest

from chalicelib.on_instance import digest_of_report, parse_report
from tests.on_instance.conftest import Bucket, Instance
from tests.on_instance.test_backup import MIB, a_run, report_of

PATTERN = bytes(range(256))
OURS = (
    "NEXT_URL TAKE_URL SCRIPT_TEXT JOB WORK BOOKS next take base rest signature report_url url letter answer"
)

LOOKS_AROUND = r"""#!/usr/bin/env python3
import os, pathlib, sys
open(sys.argv[2], "w").write("data")
held = {int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}
assert held <= {0, 1, 2}, held
ours = {NAMES} & os.environ.keys()
assert not ours, ours
mark = "signature" + "-1"
assert mark not in str(os.environ)
for path in pathlib.Path(os.environ["TMPDIR"]).rglob("*"):
    if path.is_file():
        assert mark.encode() not in path.read_bytes(), path
"""


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_script_finds_no_url_no_variable_and_no_descriptor_of_the_runner(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    script = LOOKS_AROUND.replace("{NAMES}", str(set(OURS.split())))
    exported = "".join(f"export {name}=outside\n" for name in OURS.split())

    ended = instance.run(exported + a_run(bucket, script, output=output))

    assert (ended.returncode, ended.stderr) == (0, "")
    report_of(ended.stdout, bucket)


MEDDLES = r"""#!/usr/bin/env python3
import os, pathlib, shutil, stat, sys
pattern, root = bytes(range(256)), pathlib.Path(sys.argv[2]).parent.parent.parent
def meddle():
    for path in list(root.rglob("*")):
        try:
            {HOW}
        except OSError:
            pass
with open(sys.argv[2], "wb") as out:
    out.write(pattern * 5000)
    out.flush()
    meddle()
    out.write(pattern * 5000)
    out.flush()
    meddle()
"""
HOW = {
    "empties": "stat.S_ISREG(path.lstat().st_mode) and os.truncate(path, 0)",
    "scribbles": "stat.S_ISREG(path.lstat().st_mode) and path.open('ab').write(b'1 5 ' + b'f' * 64 + b'\\n')",
    "forges": "stat.S_ISREG(path.lstat().st_mode)"
    " and path.write_text('HTTP/1.1 200 OK\\n' + 'f' * 64 + '  -\\n')",
    "writes into pipes": "stat.S_ISFIFO(path.lstat().st_mode) and path != pathlib.Path(sys.argv[2])"
    " and os.write(os.open(path, os.O_WRONLY | os.O_NONBLOCK), b'x')",
    "removes": "path.name[0] == '.' and shutil.rmtree(path)",
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_report_that_the_job_would_take_is_true_whatever_the_script_did(
    instance: Instance, bucket: Bucket, how: str, output: str
) -> None:
    ended = instance.run(a_run(bucket, MEDDLES.replace("{HOW}", how), output=output))

    if ended.returncode != 0:
        assert ended.stdout == ""
        return
    report = parse_report(bucket.report or b"", digest_of_report(ended.stdout))
    sent = [hashlib.sha256(data).hexdigest() for _, data in sorted(bucket.parts.items())]
    if [part.sha256 for part in report.parts] == sent:  # else the job, which reads S3 back, refuses it
        assert report.sha256 == hashlib.sha256(bucket.whole).hexdigest()
        if output == "pipe" or how == HOW["writes into pipes"]:
            assert bucket.whole == PATTERN * 10_000


TOOLS = "cat curl dd find id mkfifo mktemp rm sha256sum sleep tail tee tr wc"


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_tools_that_a_script_puts_on_the_path_are_not_used(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    (instance.directory / "bin").mkdir()
    plants = f"""
    for tool in {TOOLS}; do
        printf '#!/bin/sh\\necho %s >>hijacked\\n' "$tool" >"bin/$tool"
        /bin/chmod 755 "bin/$tool"
    done
    /usr/bin/head -c {2 * MIB + 5} /dev/zero >"$2"
    """

    ended = instance.run(f"PATH={instance.directory}/bin:$PATH\n" + a_run(bucket, plants, output=output))

    assert not (instance.directory / "hijacked").exists(), (instance.directory / "hijacked").read_text()
    assert ended.returncode == 0
    assert report_of(ended.stdout, bucket).size_bytes == 2 * MIB + 5
    assert instance.left_behind() == []


def test_a_script_that_removes_what_the_runner_holds_fails_the_run(
    instance: Instance, bucket: Bucket
) -> None:
    removes = 'head -c 1500000 /dev/zero; rm -rf "$TMPDIR"/farshore/.[!.]*; head -c 1500000 /dev/zero'

    ended = instance.run(a_run(bucket, f'{{ {removes}; }} > "$2"'))

    assert ended.returncode != 0
    assert ended.stdout == ""
