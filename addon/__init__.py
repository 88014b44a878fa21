"""The Blender side of Latent Lathe.

bpy is imported inside register(), so that `addon.wire` imports anywhere. Inside Blender this package is
`bl_ext.<repository>.latent_lathe.addon`, so all imports are relative. Those in this file go by name,
so that type checkers, which know no bpy, stop here.
"""

from importlib import import_module


def register() -> None:
    """Add everything to Blender."""
    import_module(".registration", __package__).register()


def unregister() -> None:
    """Take everything out of Blender again, ending the backend."""
    import_module(".registration", __package__).unregister()
