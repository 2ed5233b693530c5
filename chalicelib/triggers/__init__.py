"""What starts Farshore: the clock, the queues, AWS's completion events, the API. Handlers are one-liners.

Lambda imports the module of a handler and not `app.py`, so a handler uses nothing of the Chalice app: no
`bp.log`, no `bp.current_app`, no middleware.
"""
