"""The application as Chalice packages it: every door of `chalicelib.triggers`, nothing else."""

from chalice.app import Chalice

from chalicelib.triggers import api, completions, queues, schedules

# Powertools' logger has the app's name too; Chalice must not configure it.
app = Chalice(app_name="farshore", configure_logs=False)
for door in (api, schedules, queues, completions):
    app.register_blueprint(door.blueprint)
