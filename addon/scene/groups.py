"""Property groups to plain data and back. References to the groups themselves do not survive undo or a file load."""

from __future__ import annotations

from typing import Any


def plain(group: Any) -> dict[str, Any]:
    """Return the properties of a group, without those that are not saved or cannot be set."""

    def value(prop: Any) -> Any:
        found = getattr(group, prop.identifier)
        if prop.type == "COLLECTION":
            return [plain(item) for item in found]
        return tuple(found) if getattr(prop, "is_array", False) else found

    return {
        prop.identifier: value(prop)
        for prop in group.bl_rna.properties
        if prop.identifier != "rna_type"
        and not prop.is_skip_save
        and (prop.type == "COLLECTION" or not prop.is_readonly)
    }


def fill(group: Any, values: dict[str, Any]) -> None:
    """Set the properties of a group: the inverse of `plain`."""
    for key, value in values.items():
        if isinstance(value, list):
            items = getattr(group, key)
            items.clear()
            for entry in value:
                fill(items.add(), entry)
        else:
            setattr(group, key, value)
