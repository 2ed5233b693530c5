"""The platform that the functions run on. The template, the wheels and the bytecode all follow it.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html: python3.13 runs on Amazon Linux 2023, whose
glibc is 2.34 (https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html).
"""

PYTHON = (3, 13)
ARCHITECTURE = "x86_64"
GLIBC = (2, 34)
ELF_MACHINE = 62
"""EM_X86_64 (elf.h)."""

RUNTIME = "python{}.{}".format(*PYTHON)
TASK_ROOT = "/var/task"
"""Where Lambda unpacks the zip."""

MODULE_SUFFIX = "cpython-{}{}-{}-linux-gnu.so".format(*PYTHON, ARCHITECTURE)
STABLE_SUFFIX = "abi3.so"


def pip_options() -> list[str]:
    """Return the options by which pip takes wheels for this platform, whatever it runs on itself."""
    major, newest = GLIBC
    platforms = [f"manylinux_{major}_{minor}_{ARCHITECTURE}" for minor in range(newest, 4, -1)]
    platforms += [f"{alias}_{ARCHITECTURE}" for alias in ("manylinux2014", "manylinux2010", "manylinux1")]
    abis = ("cp{}{}".format(*PYTHON), "abi3", "none")
    return [
        "--only-binary=:all:",
        "--implementation=cp",
        "--python-version={}.{}".format(*PYTHON),
        *(f"--platform={platform}" for platform in platforms),
        *(f"--abi={abi}" for abi in abis),
    ]
