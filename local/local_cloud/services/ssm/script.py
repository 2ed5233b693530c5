"""One script, really run, the way the SSM agent runs it.

The script is in a file that `sh -c` starts, in a process group of its own; it has no standard input. It has
ended when its shell has exited and both outputs are closed: a background process that keeps an output open
keeps the command in progress, as on AWS. Stopping it kills the whole group. Output beyond what SSM keeps is
read and dropped.
Source: aws/amazon-ssm-agent, agent/executers/executers.go, agent/plugins/runscript/runscript.go.
"""

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO

from local_cloud.services.ssm.commands import STDERR_CHARACTERS, STDOUT_CHARACTERS, State, cut

STOPPED_EXIT_CODE = 137
UMASK = 0o022
"""Of a service of systemd's; this process may have another."""
KEPT_BYTES = 4 * STDOUT_CHARACTERS
_starting = threading.Lock()
"""None starts while one is written: its process would inherit the open file, which then cannot be run."""


@dataclass(frozen=True, slots=True)
class ScriptPlace:
    """Where and as what a script runs: the script's own folder, the working directory, the environment."""

    folder: Path
    working_directory: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a script ended."""

    state: State
    exit_code: int
    stdout: str
    stderr: str


@dataclass(slots=True)
class _Output:
    """The beginning of one output stream."""

    kept: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        self.kept += chunk[: KEPT_BYTES - len(self.kept)]

    def text(self) -> str:
        return self.kept.decode(errors="replace")


class Script:
    """A script that can be run once and stopped at any time, from any thread."""

    def __init__(self, text: str, place: ScriptPlace) -> None:
        """Prepare `text` to run at `place`; nothing happens yet."""
        self._text = text
        self._place = place
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped_as: State | None = None
        self._wake: tuple[int, int] | None = None

    def run(self, timeout: timedelta) -> Ended:
        """Run it to its end, at most `timeout` of real time, and return how it ended."""
        with self._lock:
            self._wake = (read, write) = os.pipe()
        try:
            return self._run(time.monotonic() + timeout.total_seconds(), read)
        finally:
            with self._lock:
                self._wake = None
            os.close(read)
            os.close(write)
            shutil.rmtree(self._place.folder, ignore_errors=True)

    def stop(self, reason: State) -> None:
        """Kill it and all its children; it then ends as `reason`. Nothing happens if it has ended."""
        with self._lock:
            if self._process and self._process.returncode is not None:
                return
            self._stopped_as = self._stopped_as or reason
            if self._process and self._wake:
                _kill_group(self._process)
                os.write(self._wake[1], b".")

    def _run(self, deadline: float, wake: int) -> Ended:
        try:
            process = self._start()
        except OSError as exc:
            return Ended(State.FAILED, 1, "", f"failed to run commands: {exc.strerror}: {exc.filename}")
        if process is None:
            return self._ended(_Output(), _Output(), None)
        out, err = _Output(), _Output()
        with process:
            if not self._read({process.stdout: out, process.stderr: err}, deadline, wake):
                self.stop(State.EXECUTION_TIMED_OUT)
            exit_code = self._wait(process, deadline)
        return self._ended(out, err, exit_code)

    def _start(self) -> "subprocess.Popen[bytes] | None":
        """Start the process, unless the script has been stopped already."""
        with _starting, self._lock:
            if self._stopped_as:
                return None
            self._place.folder.mkdir(parents=True, exist_ok=True)
            file = self._place.folder / "_script.sh"
            file.write_text(self._text, encoding="utf-8")
            file.chmod(0o700)
            self._process = subprocess.Popen(
                ["sh", "-c", shlex.quote(str(file))],
                cwd=self._place.working_directory,
                env=dict(self._place.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                umask=UMASK,
            )
            return self._process

    def _read(self, streams: Mapping[IO[bytes] | None, _Output], deadline: float, wake: int) -> bool:
        """Read until every stream is closed or the script is stopped; False when time runs out before."""
        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            for stream, output in streams.items():
                if stream:
                    selector.register(stream, selectors.EVENT_READ, output)
            while len(selector.get_map()) > 1:
                if not (ready := selector.select(max(0.0, deadline - time.monotonic()))):
                    return False
                for key, _ in ready:
                    if key.data is None:
                        return True
                    if chunk := os.read(key.fd, 1 << 16):
                        key.data.add(chunk)
                    else:
                        selector.unregister(key.fileobj)
        return True

    def _wait(self, process: "subprocess.Popen[bytes]", deadline: float) -> int:
        try:
            return process.wait(max(0.0, deadline - time.monotonic()) if self._stopped_as is None else None)
        except subprocess.TimeoutExpired:
            self.stop(State.EXECUTION_TIMED_OUT)
            return process.wait()

    def _ended(self, out: _Output, err: _Output, exit_code: int | None) -> Ended:
        stdout, stderr = out.text(), err.text()
        if self._stopped_as:
            state, code = self._stopped_as, -1 if exit_code is None else STOPPED_EXIT_CODE
        elif exit_code == 0:
            state, code = State.SUCCESS, 0
        else:
            code = exit_code if exit_code and exit_code > 0 else -1
            state = State.EXECUTION_TIMED_OUT if code == STOPPED_EXIT_CODE else State.FAILED
            if state is State.FAILED:
                stderr += f"failed to run commands: {_reason(exit_code)}"
        return Ended(state, code, cut(stdout, STDOUT_CHARACTERS), cut(stderr, STDERR_CHARACTERS))


def _reason(exit_code: int | None) -> str:
    if exit_code and exit_code < 0:
        return f"signal: {str(signal.strsignal(-exit_code)).lower()}"
    return f"exit status {exit_code}"


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def kill_leftovers(instance_ids: Collection[str]) -> None:
    """Kill every process that commands left on these instances; its environment has the instance's id.

    Looks through /proc; does nothing where there is none.
    """
    marks = {f"AWS_SSM_INSTANCE_ID={instance_id}".encode() for instance_id in instance_ids}
    proc = Path("/proc")
    there = proc.iterdir() if marks and proc.is_dir() else ()
    for process in (each for each in there if each.name.isdecimal()):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if marks.intersection((process / "environ").read_bytes().split(b"\0")):
                os.kill(int(process.name), signal.SIGKILL)
