"""Masks secrets in text from elsewhere: output of scripts, errors of SDKs and drivers. Pure.

Such text enters in three places, and each of them masks it: `aws.ssm.Invocation` (output of an instance),
`errors.FarshoreError` (texts of exceptions) and the logger (traces of other exceptions). So reasons, events,
documents and log lines need no masking of their own.

It masks too much rather than too little. It is a safety net for scripts that print what they should not, and
no guarantee that nothing gets through.
"""

import re
from typing import Final

MASK: Final = "***"

# One value: quoted, or up to a blank, in any mixture that a shell reads as one word.
_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|\\.|[^\s"'&;|])+"""
# Options of commands that begin with `-p` and are not followed by a password.
_NOT_MYSQL = r"(?!-(?:print0?|printf|prune|perm|path|pid|pidfile|port)(?![\w-]))"

_SECRETS: Final = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        # A private key, of age or in PEM.
        (r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|\Z)", re.DOTALL, rf"\1{MASK}\2"),
        (r"(AGE-SECRET-KEY-1)[0-9A-Z]+", re.IGNORECASE, rf"\1{MASK}"),
        # PGPASSWORD=, --password=, AWS_SECRET_ACCESS_KEY=, X-Amz-Signature=, ...
        (
            r"((?<![\w-])[\w.-]*(?:passw(?:or)?d|passphrase|(?<=-)pass|_pass|_pwd|token|secret|signature|credential"
            r"|_auth|(?:secret|access|api|private|account)_?key)\w{0,16}\s?=\s?)" + _VALUE,
            re.IGNORECASE,
            rf"\1{MASK}",
        ),
        (r"((?:[?&]|^)sig=)[^&\s\"']+", re.IGNORECASE | re.MULTILINE, rf"\1{MASK}"),
        # "password": "..."
        (
            r"""("[\w.-]*(?:password|passphrase|token|secret|_?key)"\s*:\s*")[^"\n]*""",
            re.IGNORECASE,
            rf"\1{MASK}",
        ),
        # --password VALUE, sshpass -p VALUE, redis-cli -a VALUE
        (r"((?<!\S)--?(?:password|passphrase|pass|requirepass)\s+)" + _VALUE, 0, rf"\1{MASK}"),
        (r"(\b(?:sshpass\s+-p|redis-cli\b[^\n]{0,200}?\s-a)\s+)" + _VALUE, 0, rf"\1{MASK}"),
        # -pVALUE
        (r"((?<![\w-])" + _NOT_MYSQL + r"-p)(?!\*)" + _VALUE, 0, rf"\1{MASK}"),
        # -u USER:VALUE
        (r"((?<!\S)(?:-u|--user)[\s=]?[^\s:\"']+:)[^\s\"']+", 0, rf"\1{MASK}"),
        (r"(authorization:\s*\w+\s+)\S+", re.IGNORECASE, rf"\1{MASK}"),
        # scheme://USER:VALUE@HOST
        (r"(://[^\s/:@]*:)[^\s/\"']+@", 0, rf"\1{MASK}@"),
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
        (r"\b(A[KS]IA)[A-Z0-9]{8,}", 0, rf"\1{MASK}"),
    )
)
# Possible AWS secret keys.
_BASE64 = re.compile(r"(?<![\w/+=-])[A-Za-z0-9/+]{40}(?![\w/+=-])")


def mask(text: str) -> str:
    """Return the text with `***` instead of what looks like a password, key, token or signature.

    It is idempotent: masked text does not change.
    """
    for secret, replacement in _SECRETS:
        text = secret.sub(replacement, text)
    return _BASE64.sub(lambda found: MASK if _is_random(found[0]) else found[0], text)


def _is_random(word: str) -> bool:
    """Return whether a word looks like a key and not like a path or hash: it has both cases and digits."""
    capitals, small = sum(map(str.isupper, word)), sum(map(str.islower, word))
    return min(capitals, small) >= 5 and any(map(str.isdigit, word))
