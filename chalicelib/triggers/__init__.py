"""What wakes Farshore: the clock, the queues, AWS's completion events, the API. One line a handler.

Lambda imports the module of a handler and not `app.py`, so a handler uses nothing of the Chalice app: no
`bp.log`, no `bp.current_app`, no middleware.
"""
