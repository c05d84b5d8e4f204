"""What there is to say about the RGB image of each scene class, read off its scene graph."""

from collections import Counter
from collections.abc import Callable

from .scene_graph import SceneGraph, SceneObject
from .scene_language import counted, direction_name, listed, place_name, with_article
from .scene_phrases import Description, are, common_colour, ground_of, trees_of, where


def _vehicles(graph: SceneGraph) -> str:
    """Cars and trucks by number, or "no cars"."""
    cars, trucks = len(graph.objects("car")), len(graph.objects("truck"))
    parts = [counted(count, noun) for count, noun in ((cars, "car"), (trucks, "truck")) if count]
    return listed(parts) or "no cars"


def _coloured(things: tuple[SceneObject, ...], noun: str) -> str:
    return counted(len(things), f"{common_colour(things)}{noun}") if things else f"no {noun}s"


def _airport(graph: SceneGraph) -> Description:
    planes = graph.objects("airplane")
    terminal = graph.objects("terminal")
    building = with_article(f"{terminal[0].paint.name} terminal") if terminal else "an apron"
    runway, apron = graph.patches("runway")[0], ground_of(graph, "apron")
    direction = direction_name(runway.outline[0], runway.outline[1])
    fleet = _coloured(planes, "airplane")
    return Description(
        nouns=(fleet, building, f"a {runway.paint.name} runway running {direction}", ground_of(graph, "grass")),
        clauses=(
            f"{fleet} {are(len(planes))} parked {where(graph, planes)}" if planes else f"no airplane stands at {building}",
            f"a {runway.paint.name} runway with white markings runs {direction} of the image",
            f"the apron in front of {building} is {apron.split()[0]}",
            f"a taxiway runs between the runway and the {apron}",
        ),
    )


def _harbor(graph: SceneGraph) -> Description:
    ships, piers, halls = graph.objects("ship"), graph.objects("pier"), graph.objects("hall")
    fleet, jetties = _by_colour(ships, "ship") or "no ships", counted(len(piers), "pier")
    boxes = counted(len(graph.patches("containers")), "container")
    loaded = sum(ship.variant == 1 for ship in ships)
    water = ground_of(graph, "water")
    clauses = [
        f"{fleet} {are(len(ships))} moored at {jetties} {where(graph, ships)}" if ships else f"{jetties} lie empty in {water}",
        f"{counted(len(piers), 'grey pier')} {'reaches' if len(piers) == 1 else 'reach'} into the {water}",
        f"containers of many colours are stacked on the quay beside {counted(len(halls), 'shed')}",
    ]
    if loaded:
        clauses.append(f"{counted(loaded, 'container ship')} {'lies' if loaded == 1 else 'lie'} in the {water}")
    return Description(nouns=(fleet, jetties, boxes, water), clauses=tuple(clauses))


def _parking_lot(graph: SceneGraph) -> Description:
    cars = graph.objects("car")
    colour, number = Counter(car.paint.name for car in cars).most_common(1)[0] if cars else ("grey", 0)
    fill = "nearly full" if len(cars) > 90 else "half full" if len(cars) > 40 else "mostly empty"
    asphalt = ground_of(graph, "asphalt")
    trees = trees_of(graph)
    total = counted(len(cars), "car")
    return Description(
        nouns=(total, trees, f"rows of white stall lines on {asphalt}"),
        clauses=(
            f"{total} {are(len(cars))} parked in rows and {counted(number, f'{colour} car')} {are(number)} among them",
            f"the {fill} parking lot is paved with {asphalt}",
            f"{trees} stand on green strips between the rows",
            f"most of the cars are {where(graph, cars)}" if cars else "the stalls are empty",
        ),
    )


def _interchange(graph: SceneGraph) -> Description:
    loops, trees = len(graph.strips("loop ramp")), trees_of(graph)
    highway = graph.strips("highway")[0]
    traffic, ground = _vehicles(graph), ground_of(graph, "grass")
    vehicles = graph.objects("car", "truck")
    return Description(
        nouns=(traffic, counted(loops, "loop ramp"), trees, ground),
        clauses=(
            f"{traffic} drive on two {highway.paint.name} highways that cross at a bridge",
            f"one highway runs {direction_name(highway.path[0], highway.path[-1])} of the image",
            f"{counted(loops, 'loop ramp')} and four slip roads join the highways",
            f"the ramps are surrounded by {ground} and {trees}",
            f"most vehicles are {where(graph, vehicles)}" if vehicles else "the lanes are empty",
        ),
    )


def _railway_station(graph: SceneGraph) -> Description:
    trains = tuple(car for car in graph.objects("train car") if car.variant == 1)
    platforms = graph.objects("platform")
    tracks, fleet = counted(len(graph.strips("sleepers")), "track"), _coloured(trains, "train")
    roofs = _coloured(platforms, "platform roof")
    halls, trees = graph.objects("hall"), trees_of(graph)
    building = f"a station building with a {halls[0].paint.name} roof" if halls else "a forecourt"
    rails = graph.strips("rail")[0]
    direction = direction_name(rails.path[0], rails.path[-1])
    return Description(
        nouns=(fleet, building, roofs, trees, tracks),
        clauses=(
            f"{fleet} {are(len(trains))} on {tracks} running {direction} beside {counted(len(platforms), 'platform')}",
            f"the tracks run {direction} through the image",
            f"{building} lies beside the tracks",
            f"{trees} grow on {ground_of(graph, 'grass')} around the station",
        ),
    )


def _storage_tanks(graph: SceneGraph) -> Description:
    tanks, trees = graph.objects("tank"), trees_of(graph)
    group, ground = _coloured(tanks, "storage tank"), ground_of(graph, "bare ground")
    size = "large" if tanks[0].width_metres > 42 else "small"
    rows = len(graph.strips("pipe"))
    return Description(
        nouns=(group, counted(rows, "pipe"), trees, ground),
        clauses=(
            f"{group} {'stands' if len(tanks) == 1 else 'stand'} on {ground} {where(graph, tanks)}",
            f"the {size} round tanks are arranged in {counted(rows, 'row')} beside pipes",
            f"a grey road passes {group}",
            f"there are {trees} and {ground_of(graph, 'grass')} next to the tanks",
        ),
    )


def _by_colour(things: tuple[SceneObject, ...], noun: str) -> str:
    """How many of each colour, such as "two red roofs and one grey roof"."""
    counts = Counter(thing.paint.name for thing in things)
    return listed([counted(number, f"{name} {noun}") for name, number in counts.most_common()])


def _dense_residential(graph: SceneGraph) -> Description:
    houses, trees, cars = graph.objects("house"), trees_of(graph), _vehicles(graph)
    road = graph.strips("road")[0]
    total = counted(len(houses), "house")
    return Description(
        nouns=(total, cars, trees),
        clauses=(
            f"{total} with {_by_colour(houses, 'roof')} stand close together along the streets",
            f"{cars} {are(len(graph.objects('car')))} on the grey streets",
            f"the streets run {direction_name(road.path[0], road.path[-1])} of the image",
            f"small gardens with {trees} lie behind the rows of houses",
        ),
    )


def _sparse_residential(graph: SceneGraph) -> Description:
    houses, trees, cars = graph.objects("house"), trees_of(graph), _vehicles(graph)
    pools = len(graph.patches("pool"))
    total = counted(len(houses), "house")
    road = graph.strips("road")[0]
    nouns = [total, trees, cars] if not pools else [total, counted(pools, "swimming pool"), trees, cars]
    return Description(
        nouns=tuple(nouns),
        clauses=(
            f"{total} with {_by_colour(houses, 'roof')} {'lies' if len(houses) == 1 else 'lie'} apart from each other on {ground_of(graph, 'lawns')}"
            if houses else f"an empty plot lies on {ground_of(graph, 'lawns')}",
            f"a bending road runs {direction_name(road.path[0], road.path[-1])} of the image",
            f"{trees} surround the houses",
            f"pale drives lead to {total} {where(graph, houses)}" if houses else "there are no houses",
        ),
    )


def _industrial_area(graph: SceneGraph) -> Description:
    halls, trees, trucks = graph.objects("hall"), trees_of(graph), graph.objects("truck")
    roofs = _by_colour(halls, "roof") or "no roofs"
    total, fleet = counted(len(halls), "large building"), counted(len(trucks), "truck")
    return Description(
        nouns=(total, fleet, trees, ground_of(graph, "yard")),
        clauses=(
            f"{total} with {roofs} stand between straight roads",
            f"{fleet} {are(len(trucks))} parked in the yards" + (f" {where(graph, trucks)}" if trucks else ""),
            f"the buildings are separated by {ground_of(graph, 'yard')}s",
            f"{trees} grow along the roads",
        ),
    )


def _solar_farm(graph: SceneGraph) -> Description:
    rows, trees = graph.objects("solar row"), trees_of(graph)
    ground = ground_of(graph, "grass", "bare ground")
    total = f"{counted(len(rows), 'row')} of {rows[0].paint.name} solar panels"
    track = graph.strips("dirt road")[0]
    return Description(
        nouns=(total, "a dirt road", trees, ground),
        clauses=(
            f"{total} {are(len(rows))} mounted on {ground} {where(graph, rows)}",
            f"a dirt road runs {direction_name(track.path[0], track.path[-1])} between the panels",
            f"the {rows[0].paint.name} panels form two blocks",
            f"{trees} stand around the solar panels",
        ),
    )


def _stadium(graph: SceneGraph) -> Description:
    stand, pitch = graph.objects("stand")[0], graph.objects("pitch")[0]
    cars, trees = _vehicles(graph), trees_of(graph)
    seats = f"{stand.paint.name} seats"
    field = "a green pitch inside a red running track" if pitch.variant else "a green pitch"
    place = place_name(graph.patches("car park")[0].outline[0], graph.conditions.extent_metres)
    return Description(
        name=f"stadium with {seats}",
        nouns=(cars, field, trees),
        clauses=(
            f"a stadium with {seats} encloses {field} with white lines",
            f"{cars} {are(len(graph.objects('car')))} in the car park {place} of the image",
            f"{trees} grow around the stadium",
            f"rows of {seats} surround the pitch under a white rim",
        ),
    )


def _farmland(graph: SceneGraph) -> Description:
    fields = graph.patches("field", "round field")
    extent = graph.conditions.extent_metres
    colours = Counter(field.paint.name for field in fields)
    kinds = " and ".join(name for name, _ in colours.most_common(2))
    noun = "round fields" if graph.patches("round field") else "fields with crop rows"
    tractors, houses, trees = graph.objects("tractor"), graph.objects("house"), trees_of(graph)
    road = graph.strips("dirt road")[0]
    centre = (
        sum(x for x, _ in road.path) / len(road.path), sum(y for _, y in road.path) / len(road.path)
    )
    farm = counted(len(houses), f"farm building with a {houses[0].paint.name} roof") if len(houses) == 1 else (
        f"{counted(len(houses), f'{houses[0].paint.name} farm building')}" if houses else "no buildings")
    machines = counted(len(tractors), "red tractor") if tractors else "no tractor"
    return Description(
        nouns=(f"{kinds} {noun}", farm, trees, machines),
        clauses=(
            f"{kinds} {noun} lie on both sides of a dirt road that crosses the image {place_name(centre, extent)}",
            f"the dirt road runs {direction_name(road.path[0], road.path[-1])} of the image",
            f"{machines} {are(len(tractors))} on the dirt road" if tractors else "there is no tractor on the dirt road",
            f"{farm} {are(len(houses))} {where(graph, houses)}" if houses else "there are no buildings among the fields",
            f"{trees} grow along the road",
        ),
    )


def _forest(graph: SceneGraph) -> Description:
    extent = graph.conditions.extent_metres
    canopy, crowns = graph.patches("canopy")[0], trees_of(graph)
    clearings = [c for c in graph.patches("clearing") if all(0 < v < extent for v in c.outline[0])]
    places = listed([place_name(_middle(c.outline), extent) for c in clearings])
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
        clauses.append(f"a stand of {stands[0].paint.name} trees grows {place_name(_middle(stands[0].outline), extent)}")
    return Description(
        name=f"dense {canopy.paint.name} forest", nouns=(crowns, track, open_ground), clauses=tuple(clauses)
    )


def _middle(outline: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    return (sum(x for x, _ in outline) / len(outline), sum(y for _, y in outline) / len(outline))


def _shore(graph: SceneGraph) -> str:
    return f"{ground_of(graph, 'canopy').split()[0]} forest" if graph.patches("canopy") else ground_of(graph, "grass")


def _boats(graph: SceneGraph) -> str:
    boats = graph.objects("boat")
    return _coloured(boats, "boat")


def _river(graph: SceneGraph) -> Description:
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


def _lake(graph: SceneGraph) -> Description:
    water, boats, trees = graph.patches("lake")[0], graph.objects("boat"), trees_of(graph)
    piers = len(graph.objects("pier"))
    name = with_article(f"{water.paint.name} lake")
    island = "an island" if graph.patches("island") else "no island"
    jetties = counted(piers, "brown jetty")
    place = place_name(_middle(water.outline), graph.conditions.extent_metres)
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


def _beach(graph: SceneGraph) -> Description:
    umbrellas, trees = graph.objects("umbrella"), trees_of(graph)
    waves = counted(len(graph.strips("surf")), "line") + " of white surf"
    sand = graph.patches("sand")[0]
    shade = _coloured(umbrellas, "umbrella")
    # The outline of the shallow water starts at the first point of its seaward edge.
    edge = graph.patches("shallow water")[0].outline[:49]
    shore, extent = _middle(graph.patches("sand")[0].outline[:49]), graph.conditions.extent_metres
    outward = tuple(near + 3.0 * (far - near) for near, far in zip(shore, _middle(edge), strict=True))
    sea = place_name((outward[0], outward[1]), extent)
    road = "a grey road" if graph.strips("road") else "no road"
    clauses = [
        f"{shade} {are(len(umbrellas))} on {sand.paint.name} sand between the blue sea and {ground_of(graph, 'dune grass')}",
        f"{waves} {'rolls' if waves.startswith('one ') else 'roll'} onto the beach",
        f"the open sea is {sea} of the image",
        f"{trees} and {road} are behind the beach",
    ]
    if graph.objects("boat"):
        clauses.append(f"{_boats(graph)} {are(len(graph.objects('boat')))} on the sea {where(graph, graph.objects('boat'))}")
    return Description(nouns=(shade, waves, trees, _boats(graph)), clauses=tuple(clauses))


DESCRIBE: dict[str, Callable[[SceneGraph], Description]] = {
    "airport": _airport,
    "beach": _beach,
    "dense residential": _dense_residential,
    "farmland": _farmland,
    "forest": _forest,
    "harbor": _harbor,
    "industrial area": _industrial_area,
    "interchange": _interchange,
    "lake": _lake,
    "parking lot": _parking_lot,
    "railway station": _railway_station,
    "river": _river,
    "solar farm": _solar_farm,
    "sparse residential": _sparse_residential,
    "stadium": _stadium,
    "storage tanks": _storage_tanks,
}
