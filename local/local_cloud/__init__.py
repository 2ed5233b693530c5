"""An AWS on one machine: moto behind a layer that adds what it lacks; it runs the packaged functions."""

import os

os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # else moto brings 1,301 foreign snapshots
