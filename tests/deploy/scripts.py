"""Runs the deploying scripts: dry, or with an `aws` on the PATH that answers what a test says."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.deployment import Deployment
from deploy.preflight import plan

ROOT = Path(__file__).parents[2]
VAULTS = {"dr": {"kind": "s3", "region": "eu-west-1", "bucket": "my-farshore-dr"}}
PROD = {"STAGE": "prod", "REGION": "eu-central-1", "VAULT_BUCKET": "my-farshore-home", "VAULTS": ""}

# What CloudFormation answers in a region where nothing is deployed, by the words of the command.
NOTHING_YET = {
    "sts get-caller-identity": "111122223333",
    "cloudformation describe-stacks": "!Stack with id x does not exist",
    "s3api head-bucket": "!404",
    "apigateway get-account": "None",
    "--no-execute-changeset": "review arn:aws:cloudformation:eu-central-1:111122223333:changeSet/one/1",
    "Stacks[0].Outputs": "EndpointURL",
    "describe-change-set": "Add\t-\tAWS::S3::Bucket\tVaultBucket",
}
# It logs its arguments, and answers with the last entry of answers.json whose words are there; what begins
# with "!" is an error.
AWS = f"""#!{sys.executable} -SE
import json, pathlib, sys
here = pathlib.Path(__file__).parent
words = " ".join(sys.argv[1:])
with (here / "calls").open("a") as calls:
    calls.write(words + "\\n")
answers = json.loads((here / "answers.json").read_text())
answer = ([""] + [text for words_of, text in answers.items() if words_of in words])[-1]
sys.exit(answer[1:]) if answer.startswith("!") else print(answer)
"""
# Prints what the checks, which have tests of their own, would tell the script.
CHECKED = """#!/bin/sh
cat "$(dirname "$0")/plan"
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What a script said, and the calls of `aws` that it made."""

    code: int
    said: str
    calls: list[str]

    @property
    def shown(self) -> list[list[str]]:
        """The commands that were shown, as words."""
        return [shlex.split(line[4:]) for line in self.said.splitlines() if line.startswith("  $ ")]

    def made(self, words: str) -> bool:
        """Return whether a call with these words was made."""
        return any(words in call for call in self.calls)


def run(script: str, folder: Path, answers: Mapping[str, str], *settings: str, checkout: Path = ROOT) -> Run:
    """Run a script of deploy/ against an `aws` of the test's own."""
    variables = PROD | dict(each.split("=", 1) for each in settings)
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, text in (("aws", AWS), ("python", CHECKED)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (programs / "answers.json").write_text(json.dumps(NOTHING_YET | dict(answers)))
    (programs / "calls").write_text("")
    vaults = Deployment(PROD | {"VAULTS": variables["VAULTS"]})
    (programs / "plan").write_text("\n".join(plan(vaults, None)))
    given = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHON": str(programs / "python"),
        "HOME": str(folder),
    }
    done = subprocess.run(
        ["bash", checkout / "deploy" / script],
        env=given | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr, (programs / "calls").read_text().splitlines())


def documented(page: Path) -> list[list[str]]:
    """Return the aws commands in the code blocks of a page, as words."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line.partition(" >")[0]) for line in lines if line.startswith("aws ")]
