"""Writes what Pillow makes of small images: the operations of RandAugment, resizing, and decoding to RGB, also at a part of
the size.

Every golden is a PNG, so that a person can look at it. Run from the workspace root:

    python reference/write_image_ops.py
"""

import io
import pathlib
import struct

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torchvision import transforms

FILL = (128, 128, 128)
OUT = pathlib.Path("crates/elimnet/tests/fixtures/images")


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colours, an edge and some noise: what photos are made of."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 5 + seed), np.cos(y / 4), np.sin((x + y) / 7)], axis=-1) * 70 + 120
    waves[height // 3 : height // 2, width // 4 : width // 2] += 60
    noisy = waves + rng.normal(0, 8, waves.shape)
    return Image.fromarray(noisy.clip(10, 235).astype(np.uint8))


def affine(image, matrix, resample=Image.Resampling.NEAREST):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=FILL)


def rotate(image, degrees):
    turned = image.convert("RGBA").rotate(degrees)
    return Image.composite(turned, Image.new("RGBA", turned.size, (128,) * 4), turned).convert("RGB")


def cut_out(image, box):
    image = image.copy()
    ImageDraw.Draw(image).rectangle(box, fill=FILL)
    return image


def write_operations() -> None:
    folder = OUT / "operations"
    folder.mkdir(parents=True, exist_ok=True)
    image = picture(40, 31, 1)
    width, height = image.size
    shift = 150 / 331 * 14 / 31
    cubic = Image.Resampling.BICUBIC
    enhance = {
        "color": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast,
        "brightness": ImageEnhance.Brightness,
        "sharpness": ImageEnhance.Sharpness,
    }
    made = {
        "original": image,
        "auto_contrast": ImageOps.autocontrast(image),
        "equalize": ImageOps.equalize(image),
        "rotate_13.5": rotate(image, 13.5),
        "rotate_30": rotate(image, 30),
        "solarize_140.4": ImageOps.solarize(image, 140.4),
        "posterize_6": ImageOps.posterize(image, 6),
        "posterize_4": ImageOps.posterize(image, 4),
        "shear_x_0.3": affine(image, (1, 0.3, 0, 0, 1, 0), cubic),
        "shear_x_-0.13": affine(image, (1, -0.13, 0, 0, 1, 0), cubic),
        "shear_y_0.3": affine(image, (1, 0, 0, 0.3, 1, 0), cubic),
        "shear_y_-0.13": affine(image, (1, 0, 0, -0.13, 1, 0), cubic),
        "translate_x": affine(image, (1, 0, shift * width, 0, 1, 0)),
        "translate_y_back": affine(image, (1, 0, 0, 0, 1, -shift * height)),
        "cut_out": cut_out(image, ((30, 8), (40, 20))),
        "flip": ImageOps.mirror(image),
    }
    for name, kind in enhance.items():
        made[f"{name}_0.6"] = kind(image).enhance(0.6)
        made[f"{name}_1.9"] = kind(image).enhance(1.9)
    for name, result in made.items():
        result.save(folder / f"{name}.png", optimize=True)


def write_resizes() -> None:
    folder = OUT / "resize"
    folder.mkdir(parents=True, exist_ok=True)
    image = picture(61, 47, 2)
    image.save(folder / "original.png", optimize=True)
    seed = transforms.Compose([transforms.Pad((0, 7)), transforms.Resize((32, 32))])  # SquarePad, Resize
    seed(image).save(folder / "simple_augment_test_32.png", optimize=True)
    filters = {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
    }
    for name, kind in filters.items():
        for width, height in [(24, 20), (61, 16), (90, 70), (7, 100)]:
            image.resize((width, height), kind).save(folder / f"{name}_{width}x{height}.png", optimize=True)


def bitmap(bits, compression, pixels, palette=(), masks=(), height=5, core=False):
    """A BMP of width 7 that Pillow can read but not write."""
    colours = b"".join(bytes(entry) + (b"" if core else b"\0") for entry in palette)
    tail = struct.pack(f"<{len(masks)}I", *masks) + colours
    if core:
        header = struct.pack("<IHHHH", 12, 7, height, 1, bits)
    else:
        header = struct.pack("<IiiHHIIiiII", 40, 7, height, 1, bits, compression, len(pixels), 0, 0, len(palette), 0)
    start = 14 + len(header) + len(tail)
    return struct.pack("<2sIII", b"BM", start + len(pixels), 0, start) + header + tail + pixels


def bitmaps() -> dict:
    rng = np.random.default_rng(5)
    palette = [tuple(int(value) for value in entry) for entry in rng.integers(0, 256, (16, 3))]
    words = rng.integers(0, 1 << 16, (5, 8), dtype=np.uint16).tobytes()
    nibbles = rng.integers(0, 256, 20, dtype=np.uint8).tobytes()
    dots = rng.integers(0, 256, (5, 24), dtype=np.uint8).tobytes()
    indices = rng.integers(0, 16, (5, 8), dtype=np.uint8).tobytes()
    eight = bytes([3, 5, 4, 2, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 7, 9, 0, 0, 7, 10, 0, 0, 7, 1, 0, 0, 0, 1])
    four = bytes([7, 0x5A, 0, 0, 0, 7, 0x12, 0x34, 0x56, 0x70, 0, 0, 7, 0x99, 0, 0, 3, 0xAB, 4, 0xCD, 0, 0, 7, 0x11])
    return {
        "sixteen_colours.bmp": bitmap(4, 0, nibbles, palette),
        "bits_555.bmp": bitmap(16, 0, words),
        "bits_565.bmp": bitmap(16, 3, words, masks=(0xF800, 0x07E0, 0x001F)),
        "run_lengths_8.bmp": bitmap(8, 1, eight, palette),
        "run_lengths_4.bmp": bitmap(4, 2, four + bytes([0, 0, 0, 1]), palette),
        "top_down.bmp": bitmap(24, 0, dots, height=-5),
        "core_header.bmp": bitmap(8, 0, indices, palette + [(0, 0, 0)] * 240, core=True),
    }


def sources() -> dict:
    """Encoded files of every kind that has to be read, by file name."""
    image = picture(33, 21, 3)
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    wide = np.asarray(image).astype(np.uint16) * 256 + 77
    exif = Image.Exif()
    exif[0x0112] = 6
    second = picture(33, 21, 4)

    def encoded(picture, kind, **options):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        return file.getvalue()

    palette = image.quantize(17)
    return {
        "baseline.jpg": encoded(image, "JPEG", quality=90),
        "full_chroma.jpg": encoded(image, "JPEG", quality=95, subsampling=0),
        "progressive.jpg": encoded(image, "JPEG", quality=90, progressive=True),
        "gray.jpg": encoded(image.convert("L"), "JPEG", quality=90),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG", quality=95),
        "rotated.jpg": encoded(image, "JPEG", quality=90, exif=exif),
        "rgb.png": encoded(image, "PNG"),
        "gray.png": encoded(image.convert("L"), "PNG"),
        "gray_alpha.png": encoded(alpha.convert("LA"), "PNG"),
        "rgba.png": encoded(alpha, "PNG"),
        "palette.png": encoded(palette, "PNG", transparency=3),
        "bilevel.png": encoded(image.convert("1"), "PNG"),
        "rotated.png": encoded(image, "PNG", exif=exif),
        "gray16.png": encoded(Image.fromarray(wide[..., 0]), "PNG"),
        "lossless.webp": encoded(image, "WEBP", lossless=True),
        "lossless_alpha.webp": encoded(alpha, "WEBP", lossless=True, exact=True),
        "lossy.webp": encoded(image, "WEBP", quality=90),
        "animated.webp": encoded(image, "WEBP", lossless=True, save_all=True, append_images=[second]),
        "rotated.webp": encoded(image, "WEBP", lossless=True, exif=exif),
        "rgb.bmp": encoded(image, "BMP"),
        "rgba.bmp": encoded(alpha, "BMP"),
        "gray.bmp": encoded(image.convert("L"), "BMP"),
        "palette.bmp": encoded(palette, "BMP"),
        "bilevel.bmp": encoded(image.convert("1"), "BMP"),
        "palette.gif": encoded(palette, "GIF"),
        "transparent.gif": encoded(palette, "GIF", transparency=3),
        "animated.gif": encoded(palette, "GIF", save_all=True, append_images=[second.quantize(9)]),
    }


def write_reduced() -> None:
    """JPEG files as libjpeg decodes them at 1/2, 1/4 and 1/8 of their size."""
    folder = OUT / "reduced"
    folder.mkdir(parents=True, exist_ok=True)
    image = picture(41, 29, 5).resize((328, 232), Image.Resampling.BICUBIC)
    for name, drawn, options in [
        ("baseline", image, {}),
        ("full_chroma", image, {"subsampling": 0}),
        ("progressive", image, {"progressive": True}),
        ("gray", image.convert("L"), {}),
    ]:
        path = folder / f"{name}.jpg"
        drawn.save(path, quality=90, **options)
        for denominator in [2, 4, 8]:
            reduced = Image.open(path)
            reduced.draft(None, (image.width // denominator, image.height // denominator))
            reduced.convert("RGB").save(folder / f"{name}_{denominator}.png", optimize=True)


def write_decoded() -> None:
    folder = OUT / "decode"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (sources() | bitmaps()).items():
        (folder / name).write_bytes(content)
        image = Image.open(io.BytesIO(content))
        if image.mode == "I;16":  # Pillow would clip to 255; elimnet takes the high byte, as Pillow does for 16-bit RGB
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        rgb = ImageOps.exif_transpose(image).convert("RGB")
        rgb.save(folder / f"{name}.expected.png", optimize=True)


if __name__ == "__main__":
    write_operations()
    write_resizes()
    write_reduced()
    write_decoded()
