"""The contract between the two processes: the only code that both the add-on and the backend import.

It needs only the standard library and numpy. `messages` are the requests and results, `options` describes what a user
can set in them, `payload` serializes them, `errors` is the tree of errors with the register of remedies, `routes` has
the HTTP paths and limits.
"""
