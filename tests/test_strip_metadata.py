"""Removing metadata: nothing of it is left, and not a pixel, bit depth, colour or orientation is different."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from dataset_scripts.stages.strip_jpeg import strip_jpeg
from dataset_scripts.stages.strip_metadata import StripMetadataError, strip_metadata

SECRET = "SECRET-51.5007N"
GPS_IFD, ORIENTATION = 0x8825, 0x0112
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:x exif:GPSLatitude="{SECRET}"/></x:xmpmeta>'.encode()


def make_exif(orientation: int) -> Image.Exif:
    """Positions, names, and an orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010E] = SECRET  # description
    exif[0x013B] = SECRET  # artist
    exif.get_ifd(GPS_IFD).update({1: "N", 2: (51.0, 30.0, 2.7), 3: "W", 4: (0.0, 7.0, 28.0), 29: SECRET})
    return exif


def make_picture(rng: random.Random, modes: tuple[str, ...]) -> Image.Image:
    mode = rng.choice(modes)
    width, height = rng.randint(3, 40), rng.randint(3, 40)
    pixels = np.random.default_rng(rng.randrange(2**32))
    if mode == "I;16":
        return Image.fromarray(pixels.integers(0, 65536, (height, width), dtype=np.uint16))
    if mode == "F":
        return Image.fromarray(pixels.normal(300, 20, (height, width)).astype(np.float32))
    if mode == "P":
        return Image.fromarray(pixels.integers(0, 256, (height, width, 3), dtype=np.uint8)).quantize(17)
    bands = len(Image.new(mode, (1, 1)).getbands())
    array = pixels.integers(0, 256, (height, width, bands), dtype=np.uint8)
    return Image.frombytes(mode, (width, height), array.tobytes())


def jpeg_with_everything(rng: random.Random) -> bytes:
    image = make_picture(rng, ("L", "RGB", "CMYK"))
    file = io.BytesIO()
    profile = PROFILE if rng.random() < 0.5 else None
    image.save(
        file,
        "JPEG",
        quality=rng.randint(30, 95),
        progressive=rng.random() < 0.5,
        restart_marker_blocks=rng.choice((0, 2)),
        exif=make_exif(rng.randint(1, 8)),
        comment=SECRET.encode(),
        xmp=XMP,
        icc_profile=profile,
        dpi=(72, 72),
    )
    photoshop = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + SECRET.encode()
    planted = b"".join(
        bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
        for marker, body in ((0xED, photoshop), (0xE5, SECRET.encode()), (0xE0, b"JFXX\0" + SECRET.encode()))
    )
    data = file.getvalue()
    after = 4 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 2
    return data[:after] + planted + data[after:] + SECRET.encode()


def png_with_everything(rng: random.Random) -> bytes:
    image = make_picture(rng, ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"))
    info = PngImagePlugin.PngInfo()
    info.add_text("Location", SECRET)
    info.add_text("Compressed", SECRET, zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add(b"tIME", struct.pack(">HBBBBB", 2024, 1, 2, 3, 4, 5))
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add(b"prVt", SECRET.encode(), after_idat=True)
    file = io.BytesIO()
    profile = PROFILE if rng.random() < 0.5 and image.mode in ("RGB", "RGBA") else None
    image.save(file, "PNG", pnginfo=info, exif=make_exif(rng.randint(1, 8)), icc_profile=profile)
    return file.getvalue() + SECRET.encode()


def webp_with_everything(rng: random.Random) -> bytes:
    image = make_picture(rng, ("RGB", "RGBA"))
    file = io.BytesIO()
    profile = PROFILE if rng.random() < 0.5 else None
    lossless = rng.random() < 0.5
    exif = make_exif(rng.randint(1, 8))
    more = {"save_all": True, "append_images": [image.rotate(180)]} if rng.random() < 0.2 else {}
    image.save(file, "WEBP", lossless=lossless, exif=exif, xmp=XMP, icc_profile=profile, **more)
    return file.getvalue() + SECRET.encode()


def tiff_with_everything(rng: random.Random) -> bytes:
    image = make_picture(rng, ("1", "L", "P", "RGB", "RGBA", "I;16", "F", "CMYK"))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ORIENTATION] = rng.randint(1, 8)
    tags[270], tags[315], tags[42112] = SECRET, SECRET, f"<GDALMetadata>{SECRET}</GDALMetadata>"
    tags[700] = XMP
    tags.tagtype[33550] = tags.tagtype[33922] = 12
    tags[33550], tags[33922] = (0.5, 0.5, 0.0), (0.0, 0.0, 0.0, -0.1246, 51.5007, 0.0)
    compression = rng.choice((None, "tiff_lzw", "tiff_adobe_deflate", "packbits"))
    if image.mode in ("L", "RGB") and rng.random() < 0.3:
        compression = "jpeg"
    profile = PROFILE if rng.random() < 0.5 else None
    big = rng.random() < 0.3 and compression is None
    file = io.BytesIO()
    second = {"save_all": True, "append_images": [image]} if rng.random() < 0.2 else {}
    image.save(file, "TIFF", tiffinfo=tags, compression=compression, icc_profile=profile, big_tiff=big, **second)
    return file.getvalue() + SECRET.encode()


MAKERS = {
    "jpeg": jpeg_with_everything,
    "png": png_with_everything,
    "webp": webp_with_everything,
    "tiff": tiff_with_everything,
}


def leaks(data: bytes) -> list[bytes]:
    """What is left of the planted text, also inside compressed chunks, and names of metadata blocks."""
    found = [name for name in (SECRET.encode(), b"xmpmeta", b"Photoshop", b"8BIM", b"JFXX", b"MPF\0") if name in data]
    image = Image.open(io.BytesIO(data))
    image.load()
    exif = image.getexif()
    if set(exif) - ({ORIENTATION} if image.format != "TIFF" else set(exif)):
        found.append(b"exif")
    if dict(exif.get_ifd(GPS_IFD)):
        found.append(b"gps")
    found += [str(value).encode() for value in image.info.values() if SECRET in str(value)]
    return found


def same_pixels(one: bytes, other: bytes) -> bool:
    """As decoded, and as shown."""
    first, second = Image.open(io.BytesIO(one)), Image.open(io.BytesIO(other))
    for turn in (lambda image: image, ImageOps.exif_transpose):
        left, right = turn(first), turn(second)
        if (left.mode, left.size, left.tobytes()) != (right.mode, right.size, right.tobytes()):
            return False
        if left.getpalette() != right.getpalette():
            return False
    return all(first.info.get(key) == second.info.get(key) for key in ("icc_profile", "gamma", "transparency", "adobe"))


@pytest.mark.parametrize("kind", MAKERS)
def test_of_250_images_with_planted_metadata_only_the_pixels_and_the_orientation_are_left(kind: str) -> None:
    rng = random.Random(kind)
    orientations = set()
    for number in range(250):
        data = MAKERS[kind](rng)
        assert SECRET.encode() in data
        clean = strip_metadata(data)
        assert leaks(clean) == [], number
        assert same_pixels(data, clean), number
        assert strip_metadata(clean) == clean, "what is clean stays as it is"
        orientations.add(Image.open(io.BytesIO(clean)).getexif().get(ORIENTATION, 1))
    assert orientations == set(range(1, 9))


def test_an_image_without_metadata_keeps_its_bytes() -> None:
    for kind, options in (("PNG", {}), ("WEBP", {}), ("JPEG", {"quality": 90})):
        file = io.BytesIO()
        make_picture(random.Random(1), ("RGB",)).save(file, kind, **options)
        assert strip_metadata(file.getvalue()) == file.getvalue(), kind


def test_the_second_picture_of_a_multi_picture_jpeg_goes() -> None:
    rng = random.Random(2)
    one, two = make_picture(rng, ("RGB",)), make_picture(rng, ("RGB",))
    file = io.BytesIO()
    one.save(file, "MPO", save_all=True, append_images=[two], exif=make_exif(6))
    assert Image.open(io.BytesIO(file.getvalue())).n_frames == 2
    clean = strip_metadata(file.getvalue())
    image = Image.open(io.BytesIO(clean))
    assert (image.format, getattr(image, "n_frames", 1), image.getexif()[ORIENTATION]) == ("JPEG", 1, 6)
    assert clean.count(b"\xff\xd8\xff") == 1
    assert (clean[2:4], clean[20:22], clean[24:28]) == (b"\xff\xe0", b"\xff\xe1", b"Exif")
    assert same_pixels(file.getvalue(), clean)


def test_a_preview_in_exif_and_one_in_the_jfif_header_go() -> None:
    file, small = io.BytesIO(), io.BytesIO()
    make_picture(random.Random(3), ("RGB",)).save(file, "JPEG")
    Image.new("RGB", (4, 4), "red").save(small, "JPEG")
    data = file.getvalue()
    header = b"JFIF\0\x01\x01\0\0\x01\0\x01\x02\x02" + b"\xaa\xbb\xcc" * 4
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + small.getvalue()
    planted = data[:2]
    for marker, body in ((0xE0, header), (0xE1, exif)):
        planted += bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
    planted += data[20:]
    clean = strip_metadata(planted)
    assert (clean.count(b"\xff\xd8\xff"), clean.count(b"\xaa\xbb\xcc"), clean.count(b"Exif")) == (1, 0, 0)
    assert clean[6:20] == b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"


def test_an_orientation_that_is_only_in_xmp_is_kept_where_a_decoder_would_use_it() -> None:
    file = io.BytesIO()
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    make_picture(random.Random(4), ("RGB",)).save(file, "JPEG", xmp=xmp)
    clean = strip_metadata(file.getvalue())
    assert b"xmpmeta" not in clean
    assert Image.open(io.BytesIO(clean)).getexif()[ORIENTATION] == 6
    assert same_pixels(file.getvalue(), clean)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_sixteen_bits_a_nodata_value_and_tiles_of_a_tiff_stay_and_its_position_goes() -> None:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.io import MemoryFile

    pixels = np.random.default_rng(5).integers(0, 65536, (64, 96), dtype=np.uint16)
    options = {"driver": "GTiff", "width": 96, "height": 64, "count": 1, "dtype": "uint16", "nodata": 7}
    options |= {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate", "predictor": 2}
    for big in ("YES", "NO"):
        with MemoryFile() as memory:
            with memory.open(
                **options, crs="EPSG:32630", transform=rasterio.Affine(2, 0, 7e5, 0, -2, 5e6), BIGTIFF=big
            ) as raster:
                raster.write(pixels, 1)
                raster.update_tags(place=SECRET)
            data = bytes(memory.getbuffer())
        clean = strip_metadata(data)
        assert SECRET.encode() not in clean
        with MemoryFile(clean) as memory, memory.open() as raster:
            assert (raster.crs, raster.nodata, raster.dtypes) == (None, 7, ("uint16",))
            assert raster.tags().get("place") is None
            assert np.array_equal(raster.read(1), pixels)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(clean))), pixels)


def test_a_comment_in_place_of_the_nodata_number_goes() -> None:
    file = io.BytesIO()
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[42113] = 2
    tags[42113] = SECRET
    Image.new("L", (5, 5)).save(file, "TIFF", tiffinfo=tags)
    assert SECRET.encode() in file.getvalue()
    assert SECRET.encode() not in strip_metadata(file.getvalue())


def test_a_comment_inside_a_jpeg_strip_of_a_tiff_goes() -> None:
    file = io.BytesIO()
    make_picture(random.Random(7), ("RGB",)).save(file, "TIFF", compression="jpeg")
    data = strip_metadata(file.getvalue())
    tags = Image.open(io.BytesIO(data)).tag_v2
    start, size = tags[273][0], tags[279][0]
    comment = b"\xff\xfe" + (len(SECRET) + 2).to_bytes(2, "big") + SECRET.encode()
    block = data[start : start + 2] + comment + data[start + 2 : start + size]
    for tag, old, new in ((273, start, len(data)), (279, size, len(block))):
        entry = struct.pack("<HHII", tag, 4, 1, old)
        assert data.count(entry) == 1
        data = data.replace(entry, struct.pack("<HHII", tag, 4, 1, new))
    planted = data + block
    clean = strip_metadata(planted)
    assert SECRET.encode() not in clean
    assert same_pixels(planted, clean)


def test_the_free_name_of_a_colour_profile_in_png_goes() -> None:
    file = io.BytesIO()
    Image.new("RGB", (5, 5)).save(file, "PNG")
    profile = b"iCCP" + SECRET.encode() + b"\0\0" + zlib.compress(PROFILE)
    chunk = (len(profile) - 4).to_bytes(4, "big") + profile + zlib.crc32(profile).to_bytes(4, "big")
    clean = strip_metadata(file.getvalue()[:33] + chunk + file.getvalue()[33:])
    assert SECRET.encode() not in clean
    assert Image.open(io.BytesIO(clean)).info["icc_profile"] == PROFILE


@pytest.mark.parametrize(("orientation", "flag"), [(1, 0), (3, 8)])
def test_a_webp_says_in_its_header_what_is_left_and_its_frames_hold_pixels_alone(orientation: int, flag: int) -> None:
    rng = random.Random(8)
    frame = make_picture(rng, ("RGB",))
    file = io.BytesIO()
    other = frame.rotate(180)
    frame.save(file, "WEBP", save_all=True, append_images=[other], exif=make_exif(orientation), xmp=XMP)
    data = file.getvalue()
    at = data.index(b"ANMF")
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    end = at + 8 + size + size % 2
    hidden = b"hide" + len(SECRET).to_bytes(4, "little") + SECRET.encode() + b"\0" * (len(SECRET) % 2)
    body = (
        data[12:at]
        + b"ANMF"
        + (end - at - 8 + len(hidden)).to_bytes(4, "little")
        + data[at + 8 : end]
        + hidden
        + data[end:]
    )
    planted = b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body
    assert data[20] & 0x0C == 0x0C
    clean = strip_metadata(planted)
    assert clean[20] & 0x0C == flag
    assert SECRET.encode() not in clean
    assert same_pixels(planted, clean)
    assert Image.open(io.BytesIO(clean)).n_frames == 2


def test_a_strip_of_a_tiff_that_lies_over_its_metadata_is_refused() -> None:
    file = io.BytesIO()
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[700] = XMP
    Image.new("L", (10, 10)).save(file, "TIFF", tiffinfo=tags)
    data = file.getvalue()
    strip_at = Image.open(io.BytesIO(data)).tag_v2[273][0]
    wanted, moved = struct.pack("<I", strip_at), struct.pack("<I", data.index(XMP))
    assert data.count(struct.pack("<HHI", 273, 4, 1) + wanted) == 1
    with pytest.raises(StripMetadataError, match="pixels and other data of the TIFF share bytes"):
        strip_metadata(data.replace(struct.pack("<HHI", 273, 4, 1) + wanted, struct.pack("<HHI", 273, 4, 1) + moved))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a JPEG, PNG, WebP or TIFF: 0 bytes"),
        (b"<html>", "begin with b'<html>'"),
        (b"GIF89a" + bytes(20), "not a JPEG, PNG, WebP or TIFF"),
        (b"\xff\xd8\xff\xd9", "the header cannot be read"),
        (b"\x89PNG\r\n\x1a\n", "the PNG is cut in chunk b'' at byte 8"),
        (b"RIFF\x04\0\0\0WEBP", "the header cannot be read"),
        (b"II*\0\x08\0\0\0", "the header cannot be read"),
    ],
)
def test_what_is_no_image_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(StripMetadataError, match=message.replace("(", r"\(")):
        strip_metadata(data)


def test_damaged_structure_is_refused_by_name() -> None:
    whole = jpeg_with_everything(random.Random(6)).removesuffix(SECRET.encode())
    with pytest.raises(StripMetadataError, match="the JPEG is cut inside a scan"):
        strip_metadata(whole[:-2])
    with pytest.raises(StripMetadataError, match="a marker was expected at byte 2 of 7"):
        strip_jpeg(b"\xff\xd8hello")
    with pytest.raises(StripMetadataError, match="marker ff01 does not belong into a JPEG"):
        strip_jpeg(b"\xff\xd8\xff\x01\x00\x02\xff\xd9")
    png = png_with_everything(random.Random(6))
    at = png.index(b"IDAT") + 6
    with pytest.raises(StripMetadataError, match=r"chunk b'IDAT' at byte \d+ of the PNG does not have its check sum"):
        strip_metadata(png[:at] + bytes((png[at] ^ 1,)) + png[at + 1 :])
    critical = struct.pack(">I4s", 0, b"CgBI") + struct.pack(">I", zlib.crc32(b"CgBI"))
    with pytest.raises(StripMetadataError, match="the PNG has chunk b'CgBI', which a decoder may not skip"):
        strip_metadata(png[:33] + critical + png[33:])


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.filterwarnings("ignore")  # of Pillow, about the damage
def test_damaged_images_are_refused_by_name_or_come_out_clean(kind: str) -> None:
    rng = random.Random(f"damage {kind}")
    refused = 0
    for _ in range(400):
        data = bytearray(MAKERS[kind](rng))
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at:]
                    data += b"\0"
                case 2:
                    data[at:at] = rng.randbytes(rng.randint(1, 9))
                case _:
                    data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
        try:
            clean = strip_metadata(bytes(data))
        except StripMetadataError:
            refused += 1
        else:
            assert SECRET.encode() not in clean
            assert b"xmpmeta" not in clean
            assert len(clean) <= len(data) + 200
    assert 0 < refused < 400
