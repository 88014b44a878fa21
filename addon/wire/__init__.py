"""The contract between the two processes: the only code that both the add-on and the backend import.

Needs the standard library and numpy, nothing else. `messages` says what can be asked and answered, `payload` turns it
into bytes and back, `errors` is the tree of what can go wrong, `routes` names the HTTP paths and limits.
"""
