"""Makes what is deployed: the template and the zip, the same on every machine.

Nothing is taken from the machine that packages: the wheels are those of `requirements.lock`, by their hashes,
for the platform of `target`; the bytecode comes from one pinned compiler; the archive has no times and modes
of its own.
"""
