"""Colours of scenes, by season where they change."""

from .scene_graph import Paint, Season

GRASS: dict[Season, tuple[int, int, int]] = {
    "spring": (112, 142, 74),
    "summer": (118, 134, 72),
    "autumn": (136, 132, 80),
    "winter": (138, 128, 92),
}
CROWNS: dict[Season, tuple[tuple[str, int, int, int], ...]] = {
    "spring": (("green", 78, 116, 54), ("green", 92, 128, 62), ("green", 68, 104, 52)),
    "summer": (("green", 54, 88, 44), ("green", 66, 98, 48), ("green", 46, 78, 42)),
    "autumn": (("orange", 164, 104, 44), ("yellow", 172, 142, 60), ("brown", 128, 84, 46), ("green", 86, 98, 48)),
    "winter": (("brown", 104, 92, 74), ("grey", 112, 104, 92), ("green", 54, 76, 50)),
}
CAR_PAINTS: tuple[Paint, ...] = tuple(
    Paint(name=name, rgb=rgb)
    for name, rgb in (
        ("white", (234, 234, 230)),
        ("white", (226, 228, 228)),
        ("grey", (150, 154, 158)),
        ("grey", (112, 116, 120)),
        ("black", (44, 46, 50)),
        ("red", (176, 44, 40)),
        ("blue", (48, 82, 150)),
        ("black", (58, 58, 60)),
    )
)
PLAIN: dict[str, Paint] = {
    name: Paint(name=colour, rgb=rgb)
    for name, colour, rgb in (
        ("asphalt", "grey", (96, 97, 100)),
        ("new asphalt", "dark", (72, 73, 77)),
        ("concrete", "grey", (176, 173, 164)),
        ("soil", "brown", (150, 120, 86)),
        ("sand", "yellow", (220, 200, 156)),
        ("gravel", "grey", (150, 144, 134)),
        ("track ballast", "grey", (132, 122, 112)),
        ("dirt road", "brown", (178, 152, 116)),
    )
}
WATERS = (
    Paint(name="blue", rgb=(52, 84, 112)),
    Paint(name="green", rgb=(62, 96, 92)),
    Paint(name="dark blue", rgb=(38, 62, 92)),
)
CANOPY: dict[Season, Paint] = {
    "spring": Paint(name="green", rgb=(84, 118, 62)),
    "summer": Paint(name="green", rgb=(58, 92, 48)),
    "autumn": Paint(name="orange", rgb=(146, 110, 58)),
    "winter": Paint(name="brown", rgb=(104, 94, 76)),
}
ROOFS = (
    Paint(name="red", rgb=(168, 86, 64)),
    Paint(name="brown", rgb=(132, 98, 78)),
    Paint(name="grey", rgb=(132, 134, 138)),
)
