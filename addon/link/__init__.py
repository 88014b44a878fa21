"""The backend seen from Blender's process: environment, child process, HTTP client, jobs. Does not import bpy."""
