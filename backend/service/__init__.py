"""The service: `app` speaks HTTP, `jobs` keeps the queue, `tasks` maps requests to work, `serve` makes it a process."""
