"""Tasks that the add-on and the command line run: functions `task(request, progress, workspace) -> result`.

The table of tasks is `backend.service.tasks.TASKS`.
"""
