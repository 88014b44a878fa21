"""The Blender side of Latent Lathe.

bpy is imported inside register(), so that `addon.wire` and `addon.link` can be imported anywhere. Inside Blender this
package is `bl_ext.<repository>.latent_lathe.addon`, so all imports are relative.
"""

from importlib import import_module


def register() -> None:
    """Register everything with Blender."""
    import_module(".registration", __package__).register()


def unregister() -> None:
    """Unregister everything and stop the backend."""
    import_module(".registration", __package__).unregister()
