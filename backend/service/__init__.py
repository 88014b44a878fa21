"""The service: `app` (HTTP), `queue`, `journal` and `job` (jobs), `tasks` (table of tasks), `serve` (the process)."""
