"""What there is to say about the RGB image of each scene class, read off its scene graph."""

from collections import Counter
from collections.abc import Callable

from .scene_descriptions_nature import describe_beach, describe_farmland, describe_forest, describe_lake, describe_river
from .scene_graph import SceneGraph, SceneObject
from .scene_language import counted, direction_name, listed, place_name, with_article
from .scene_phrases import Description, are, coloured, ground_of, trees_of, where


def _vehicles(graph: SceneGraph) -> str:
    """Cars and trucks by number, or "no cars"."""
    cars, trucks = len(graph.objects("car")), len(graph.objects("truck"))
    parts = [counted(count, noun) for count, noun in ((cars, "car"), (trucks, "truck")) if count]
    return listed(parts) or "no cars"


def _airport(graph: SceneGraph) -> Description:
    planes = graph.objects("airplane")
    terminal = graph.objects("terminal")
    building = with_article(f"{terminal[0].paint.name} terminal") if terminal else "an apron"
    runway, apron = graph.patches("runway")[0], ground_of(graph, "apron")
    direction = direction_name(runway.outline[0], runway.outline[1])
    fleet = coloured(planes, "airplane")
    return Description(
        nouns=(fleet, building, f"a {runway.paint.name} runway running {direction}", ground_of(graph, "grass")),
        clauses=(
            f"{fleet} {are(len(planes))} parked {where(graph, planes)}"
            if planes
            else f"no airplane stands at {building}",
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
        f"{fleet} {are(len(ships))} moored at {jetties} {where(graph, ships)}"
        if ships
        else f"{jetties} lie empty in {water}",
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
    tracks, fleet = counted(len(graph.strips("sleepers")), "track"), coloured(trains, "train")
    roofs = coloured(platforms, "platform roof")
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
    group, ground = coloured(tanks, "storage tank"), ground_of(graph, "bare ground")
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
    lie, lawns = "lies" if len(houses) == 1 else "lie", ground_of(graph, "lawns")
    homes = f"an empty plot lies on {lawns}"
    if houses:
        homes = f"{total} with {_by_colour(houses, 'roof')} {lie} apart from each other on {lawns}"
    return Description(
        nouns=tuple(nouns),
        clauses=(
            homes,
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


DESCRIBE: dict[str, Callable[[SceneGraph], Description]] = {
    "airport": _airport,
    "beach": describe_beach,
    "dense residential": _dense_residential,
    "farmland": describe_farmland,
    "forest": describe_forest,
    "harbor": _harbor,
    "industrial area": _industrial_area,
    "interchange": _interchange,
    "lake": describe_lake,
    "parking lot": _parking_lot,
    "railway station": _railway_station,
    "river": describe_river,
    "solar farm": _solar_farm,
    "sparse residential": _sparse_residential,
    "stadium": _stadium,
    "storage tanks": _storage_tanks,
}
