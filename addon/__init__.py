"""The Blender side of Latent Lathe.

bpy is imported inside register(), so that `addon.wire` imports anywhere. Inside Blender this package is
`bl_ext.<repository>.latent_lathe.addon`, so all imports here are relative.
"""


def register() -> None:
    """Add everything to Blender."""
    from . import registration  # type: ignore[attr-defined]  # the interface is not type-checked: bpy has no types

    registration.register()


def unregister() -> None:
    """Take everything out of Blender again, ending the backend."""
    from . import registration  # type: ignore[attr-defined]  # the interface is not type-checked: bpy has no types

    registration.unregister()
