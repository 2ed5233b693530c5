"""What starts Farshore: the clock, the queues, AWS's completion events, the API. Handlers are one-liners.

Lambda imports the module of a handler and not `app.py`, so a handler uses nothing of the Chalice app: no
`bp.log`, no `bp.current_app`, no middleware.

A function's process is new, and nearly all that it loads stays. To collect garbage as
often as Python does by default takes a fifth of a cold start and finds nothing; 50,000 objects are a few MB.
"""

import gc

gc.set_threshold(50_000)
