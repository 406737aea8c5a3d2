"""A layout that writes down what a panel puts on it, and says no to what Blender does not know: properties, operators, icons, menus."""

from __future__ import annotations

import bpy

ICONS = set(bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items.keys())
PARAMETERS = {
    name: set(bpy.types.UILayout.bl_rna.functions[name].parameters.keys())
    for name in (
        *("label", "prop", "operator", "menu", "prop_search", "row", "column", "grid_flow"),
        *("template_icon", "template_list", "progress"),
    )
}


class Recorder:
    """`told` has a line for everything; rows and boxes write into the same list."""

    def __init__(self, told=None):
        self.told = [] if told is None else told
        self.enabled, self.scale_y = True, 1.0

    def _check(self, name, values):
        unknown = set(values) - PARAMETERS[name]
        assert not unknown, f"{name} has no {unknown}"
        assert values.get("icon", "NONE") in ICONS, values["icon"]

    def _inner(self, name, values):
        if name in PARAMETERS:
            self._check(name, values)
        return Recorder(self.told)

    def row(self, **values):
        return self._inner("row", values)

    def column(self, **values):
        return self._inner("column", values)

    def grid_flow(self, **values):
        return self._inner("grid_flow", values)

    def box(self):
        return Recorder(self.told)

    def separator(self):
        self.told.append("separator")

    def label(self, **values):
        self._check("label", values)
        self.told.append(f"label {values.get('text', '')}")

    def prop(self, data, name, **values):
        self._check("prop", values)
        assert name in data.bl_rna.properties, name
        self.told.append(f"prop {name}{'' if self.enabled else ' off'}")

    def prop_search(self, data, name, where, collection, **values):
        self._check("prop_search", values)
        assert name in data.bl_rna.properties
        getattr(where, collection)
        self.told.append(f"search {name}")

    def progress(self, **values):
        self._check("progress", values)
        self.told.append(f"progress {values['text']}")

    def menu(self, name, **values):
        self._check("menu", values)
        assert hasattr(bpy.types, name), name
        self.told.append(f"menu {name}")

    def template_list(self, kind, _name, data, items, active_data, active, **values):
        self._check("template_list", values)
        cls = getattr(bpy.types, kind)
        assert active in active_data.bl_rna.properties, active
        self.told.append(f"list {items}")
        lines = type("Lines", (), {"draw_item": cls.draw_item})()
        for item in getattr(data, items):
            lines.draw_item(bpy.context, self, data, item, 0, active_data, active, 0)

    def template_icon(self, **values):
        self._check("template_icon", values)
        self.told.append("picture")

    def operator(self, name, **values):
        self._check("operator", values)
        group, operator = name.split(".")
        known = getattr(getattr(bpy.ops, group), operator).get_rna_type()
        self.told.append(f"operator {name}")
        return _Values(known.properties.keys())


class _Values:
    """What a panel sets on a button."""

    def __init__(self, names):
        object.__setattr__(self, "_names", set(names))

    def __setattr__(self, name, value):
        assert name in self._names, f"the operator has no {name}"


def drawn(classes):
    """Every panel and menu by its name, as lines; with the class's own helper methods."""
    out = {}
    for cls in classes:
        if not hasattr(cls, "draw") or cls.__name__[:12] not in {"LIKENESS_PT_", "LIKENESS_MT_"}:
            continue
        layout = Recorder()
        panel = type("Drawn", (), {name: getattr(cls, name) for name in vars(cls) if callable(getattr(cls, name))})()
        panel.layout = layout
        if hasattr(cls, "draw_header"):
            cls.draw_header(panel, bpy.context)
        cls.draw(panel, bpy.context)
        out[cls.__name__] = layout.told
    return out
