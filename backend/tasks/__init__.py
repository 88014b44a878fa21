"""What a user can ask for, each from top to bottom in one file: `task(request, progress, workspace) -> result`."""
