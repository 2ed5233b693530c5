"""MiniStack as a process: AWS APIs behind TLS, and the functions of a stack in processes of their own.

It checks every signature, gives each function a session of its role, and evaluates the role's policies
(`AUTH=true`). What it lacks (instances, volumes, SSM's agents, groups) its functions ask of another endpoint.
Everything listens on loopback. Its traps are told where they are met.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials

from local_cloud.call import ACCOUNT

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 3
COMMAND_SECONDS = 120
ELSEWHERE = ("EC2", "SSM", "AUTO_SCALING", "ELASTIC_LOAD_BALANCING_V2", "ROUTE_53")
"""The services that functions reach at another endpoint, as `AWS_ENDPOINT_URL_*` names them."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for loopback that signs itself, and its key."""

    certificate: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate that is good for two days."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    asked = f"req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN={HOST}"
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    run(["openssl", *asked.split(), *files, "-addext", f"subjectAltName=IP:{HOST},DNS:localhost"])
    return made


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Return what a command prints; one that fails or lasts too long fails the test."""
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


class MiniStack:
    """A running MiniStack; `operator` is an IAM user of its account who may do everything."""

    def __init__(self, port: int, certificate: Certificate) -> None:
        self.url = f"https://{HOST}:{port}"
        self.certificate = certificate
        self._session = botocore.session.Session()
        self._clients: dict[tuple[str, str], Any] = {}

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Return what trusts this MiniStack, and nothing else."""
        return ssl.create_default_context(cafile=str(self.certificate.certificate))

    @cached_property
    def operator(self) -> Credentials:
        """Make the operator.

        MiniStack takes its root key with any secret, so only an IAM user's requests are checked.
        """
        iam = self.new_client("iam", "us-east-1", Credentials(ACCOUNT, "root"))
        iam.create_user(UserName="operator")
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
        iam.put_user_policy(UserName="operator", PolicyName="everything", PolicyDocument=policy)
        key = iam.create_access_key(UserName="operator")["AccessKey"]
        return Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    def client(self, service: str, region: str) -> Any:
        """Return a client of the operator's; one is made per service and region."""
        if (service, region) not in self._clients:
            self._clients[service, region] = self.new_client(service, region, self.operator)
        return self._clients[service, region]

    def new_client(self, service: str, region: str, by: Credentials) -> Any:
        """Make a client for somebody."""
        return self._session.create_client(
            service,
            region_name=region,
            endpoint_url=self.url,
            verify=str(self.certificate.certificate),
            aws_access_key_id=by.access_key,
            aws_secret_access_key=by.secret_key,
            aws_session_token=by.token,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=COMMAND_SECONDS),
        )

    def aws(self, *arguments: str) -> str:
        """Run the `aws` command line as the operator."""
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "AWS_ACCESS_KEY_ID": self.operator.access_key,
            "AWS_SECRET_ACCESS_KEY": self.operator.secret_key,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CA_BUNDLE": str(self.certificate.certificate),
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
        }
        return run(["aws", *arguments], environment)


def runtime() -> str:
    """Return the runtime that functions have here, whatever theirs is: MiniStack's own interpreter."""
    program = shutil.which("ministack")
    assert program
    interpreter = Path(program).read_text("utf-8").splitlines()[0].removeprefix("#!")
    return run([interpreter, "-c", "import sys; print('python%d.%d' % sys.version_info[:2])"]).strip()


def session_of(function: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return access key, secret and token that MiniStack gives a function.

    They follow from its ARN and its role's (`core/lambda_runtime.py`, `execution_credentials`).
    """
    digest = sha256(f"{function['FunctionArn']}:{function['Role']}")
    return f"ASIA{digest[:16].upper()}", sha256(f"secret:{digest}"), sha256(f"token:{digest}")


def sha256(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def workers_of(function: str) -> list[int]:
    """Return the process ids of a function's workers."""
    listed = run(["ps", "-ww", "-eo", "pid=,args="]).splitlines()
    mark = f"/ministack-lambda-{function}-"
    return [int(line.split(None, 1)[0]) for line in listed if mark in line and "_worker.py" in line]


@contextmanager
def ministack(folder: Path, elsewhere: str) -> Iterator[MiniStack]:
    """Run MiniStack with its files below `folder`; what it lacks is at the endpoint `elsewhere`.

    Its log is `folder/ministack.log`; a test that fails shows the end of it.
    """
    (folder / "tmp").mkdir(parents=True)
    certificate, port = make_certificate(folder), free_port()
    trusted = str(certificate.certificate)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "AUTH": "true",
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": trusted,
        "MINISTACK_SSL_KEY": str(certificate.key),
        "AWS_CA_BUNDLE": trusted,
        "SSL_CERT_FILE": trusted,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        **{f"AWS_ENDPOINT_URL_{service}": elsewhere for service in ELSEWHERE},
    }
    with (folder / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            ["ministack"],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        await_listening(process, port)
        yield MiniStack(port, certificate)
    finally:
        stop(process)
        print(*(folder / "ministack.log").read_text().splitlines()[-200:], sep="\n")


def await_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until a server takes connections."""
    pause, give_up = threading.Event(), time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        assert process.poll() is None, f"MiniStack ended with {process.returncode}; see its log"
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            pause.wait(0.05)
        else:
            return
    raise AssertionError(f"MiniStack does not listen on {port}; see its log")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End MiniStack and its workers: it waits for open connections, so it gets a moment only."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # a session of its own: MiniStack and its workers
        process.wait(STOP_SECONDS)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
