"""The application as Chalice packages it: every door of `chalicelib.triggers`, nothing else."""

from chalicelib.triggers import api, completions, launches, queues, schedules
from chalicelib.triggers.http import Api

# Powertools' logger has the app's name too; Chalice must not configure it.
app = Api(app_name="farshore", configure_logs=False)
for door in (api, schedules, queues, completions, launches):
    app.register_blueprint(door.blueprint)
