"""What there is to say about the RGB image of farmland, forests and waters."""

from collections import Counter

from .scene_graph import SceneGraph
from .scene_language import counted, direction_name, listed, place_name, with_article
from .scene_phrases import Description, are, coloured, ground_of, outline_middle, trees_of, where


def describe_farmland(graph: SceneGraph) -> Description:
    """What there is to say about farmland."""
    fields = graph.patches("field", "round field")
    extent = graph.conditions.extent_metres
    colours = Counter(field.paint.name for field in fields)
    kinds = " and ".join(name for name, _ in colours.most_common(2))
    noun = "round fields" if graph.patches("round field") else "fields with crop rows"
    tractors, houses, trees = graph.objects("tractor"), graph.objects("house"), trees_of(graph)
    road = graph.strips("dirt road")[0]
    centre = (sum(x for x, _ in road.path) / len(road.path), sum(y for _, y in road.path) / len(road.path))
    farm = (
        counted(len(houses), f"farm building with a {houses[0].paint.name} roof")
        if len(houses) == 1
        else (f"{counted(len(houses), f'{houses[0].paint.name} farm building')}" if houses else "no buildings")
    )
    machines = counted(len(tractors), "red tractor") if tractors else "no tractor"
    return Description(
        nouns=(f"{kinds} {noun}", farm, trees, machines),
        clauses=(
            f"{kinds} {noun} lie on both sides of a dirt road that crosses the image {place_name(centre, extent)}",
            f"the dirt road runs {direction_name(road.path[0], road.path[-1])} of the image",
            f"{machines} {are(len(tractors))} on the dirt road" if tractors else "there is no tractor on the dirt road",
            f"{farm} {are(len(houses))} {where(graph, houses)}"
            if houses
            else "there are no buildings among the fields",
            f"{trees} grow along the road",
        ),
    )


def describe_forest(graph: SceneGraph) -> Description:
    """What there is to say about a forest."""
    extent = graph.conditions.extent_metres
    canopy, crowns = graph.patches("canopy")[0], trees_of(graph)
    clearings = [c for c in graph.patches("clearing") if all(0 < v < extent for v in c.outline[0])]
    places = listed([place_name(outline_middle(c.outline), extent) for c in clearings])
    roads = graph.strips("dirt road")
    track = "a winding dirt road" if roads else "no road"
    open_ground = f"{counted(len(clearings), 'clearing')} {places}" if clearings else "no clearing"
    clauses = [
        f"a dense {canopy.paint.name} forest covers the image and there is {open_ground}",
        f"{crowns} stand out of the {canopy.paint.name} canopy",
    ]
    if roads:
        middle = roads[0].path[len(roads[0].path) // 2]
        clauses.append(
            f"a dirt road winds {direction_name(roads[0].path[0], roads[0].path[-1])} through the forest "
            f"{place_name(middle, extent)} of the image"
        )
    if graph.objects("truck"):
        clauses.append(f"a truck is on the dirt road {where(graph, graph.objects('truck'))}")
    stands = graph.patches("canopy stand")
    if stands:
        clauses.append(
            f"a stand of {stands[0].paint.name} trees grows {place_name(outline_middle(stands[0].outline), extent)}"
        )
    return Description(
        name=f"dense {canopy.paint.name} forest", nouns=(crowns, track, open_ground), clauses=tuple(clauses)
    )


def _shore(graph: SceneGraph) -> str:
    return f"{ground_of(graph, 'canopy').split()[0]} forest" if graph.patches("canopy") else ground_of(graph, "grass")


def _boats(graph: SceneGraph) -> str:
    boats = graph.objects("boat")
    return coloured(boats, "boat")


def describe_river(graph: SceneGraph) -> Description:
    """What there is to say about a river."""
    water, trees, boats = graph.patches("river")[0], trees_of(graph), graph.objects("boat")
    half = len(water.outline) // 2
    direction = direction_name(water.outline[0], water.outline[half - 1])
    name = with_article(f"{water.paint.name} river")
    extent = graph.conditions.extent_metres
    middle = place_name(water.outline[half // 2], extent)
    bridge = "a bridge" if graph.patches("bridge") else "no bridge"
    sandbar = "a sandbar" if graph.patches("sandbar") else "sandy banks"
    clauses = [
        f"{name} winds {direction} through {_shore(graph)} with {_boats(graph)} and {bridge}",
        f"the {water.paint.name} water bends {middle} of the image",
        f"{trees} grow along the river",
        f"the river has {sandbar} and {bridge} crosses it",
    ]
    if boats:
        clauses.append(f"{_boats(graph)} {are(len(boats))} on the river {where(graph, boats)}")
    return Description(name=f"{water.paint.name} river", nouns=(trees, bridge, _boats(graph)), clauses=tuple(clauses))


def describe_lake(graph: SceneGraph) -> Description:
    """What there is to say about a lake."""
    water, boats, trees = graph.patches("lake")[0], graph.objects("boat"), trees_of(graph)
    piers = len(graph.objects("pier"))
    name = with_article(f"{water.paint.name} lake")
    island = "an island" if graph.patches("island") else "no island"
    jetties = counted(piers, "brown jetty")
    place = place_name(outline_middle(water.outline), graph.conditions.extent_metres)
    clauses = [
        f"{name} with {_boats(graph)} and {jetties} lies {place} of the image among {_shore(graph)}",
        f"a sandy shore surrounds the {water.paint.name} water",
        f"{trees} grow around the lake",
        f"there is {island} in the lake and {jetties} at its shore",
    ]
    if boats:
        clauses.append(f"{_boats(graph)} {are(len(boats))} on the water {where(graph, boats)}")
    return Description(
        name=f"{water.paint.name} lake", nouns=(trees, _boats(graph), jetties, island), clauses=tuple(clauses)
    )


def describe_beach(graph: SceneGraph) -> Description:
    """What there is to say about a beach."""
    umbrellas, trees = graph.objects("umbrella"), trees_of(graph)
    waves = counted(len(graph.strips("surf")), "line") + " of white surf"
    sand = graph.patches("sand")[0]
    shade = coloured(umbrellas, "umbrella")
    # The outline of the shallow water starts at the first point of its seaward edge.
    edge = graph.patches("shallow water")[0].outline[:49]
    shore, extent = outline_middle(graph.patches("sand")[0].outline[:49]), graph.conditions.extent_metres
    outward = tuple(near + 3.0 * (far - near) for near, far in zip(shore, outline_middle(edge), strict=True))
    sea = place_name((outward[0], outward[1]), extent)
    road = "a grey road" if graph.strips("road") else "no road"
    dunes = ground_of(graph, "dune grass")
    clauses = [
        f"{shade} {are(len(umbrellas))} on {sand.paint.name} sand between the blue sea and {dunes}",
        f"{waves} {'rolls' if waves.startswith('one ') else 'roll'} onto the beach",
        f"the open sea is {sea} of the image",
        f"{trees} and {road} are behind the beach",
    ]
    if graph.objects("boat"):
        clauses.append(
            f"{_boats(graph)} {are(len(graph.objects('boat')))} on the sea {where(graph, graph.objects('boat'))}"
        )
    return Description(nouns=(shade, waves, trees, _boats(graph)), clauses=tuple(clauses))
