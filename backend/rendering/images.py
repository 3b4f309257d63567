"""Frames encoded as multi-layer EXR and as PNG, labelled as synthetic media."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from ..contract.arrays import F32
from ..media.provenance import DIGITAL_SOURCE_TYPE, SYNTHETIC_LABEL
from .passes import Passes, quantize

EXR_LAYER = "Actor"
PNG_COMPRESSION_LEVEL = 4  # of zlib, 0–9; higher levels are slower and barely smaller
REC709_CHROMATICITIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)  # x, y of red, green, blue, white
XMP_PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/></rdf:RDF></x:xmpmeta>'
)


def encode_exr(passes: Passes, fps: float, metadata: Mapping[str, str]) -> bytes:
    """Encode a multi-layer EXR with Blender's channel names, `Layer.Pass.Channel`.

    `Actor.Combined` is RGBA, half, scene-linear Rec.709, premultiplied; `Actor.Depth.Z` float, metres; `Actor.Head.X`
    and the other mattes half; `Actor.Vector.X` to `.W`, if there are vectors, float.

    Args:
        passes: the frame.
        fps: frames per second, for the header.
        metadata: further text attributes of the header.
    """
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": REC709_CHROMATICITIES,
        "framesPerSecond": Fraction(fps).limit_denominator(100_000),
        "comments": SYNTHETIC_LABEL,
        "digitalSourceType": DIGITAL_SOURCE_TYPE,
        **metadata,
    }
    channels: dict[str, NDArray[np.float16] | F32] = {
        f"{EXR_LAYER}.Combined": passes.to_scene_linear().astype(np.float16),
        f"{EXR_LAYER}.Depth.Z": np.ascontiguousarray(passes.depth, np.float32),
    }
    for name, matte in passes.mattes.items():
        channels[f"{EXR_LAYER}.{name}.X"] = np.ascontiguousarray(matte, np.float16)
    if passes.vectors is not None:
        for axis, component in zip("XYZW", np.moveaxis(passes.vectors, -1, 0), strict=True):
            channels[f"{EXR_LAYER}.Vector.{axis}"] = np.ascontiguousarray(component, np.float32)
    stream = io.BytesIO()
    with OpenEXR.File(header, channels) as file:
        file.write(stream)
    return stream.getvalue()


def encode_png(passes: Passes, bits: int, metadata: Mapping[str, str]) -> bytes:
    """Encode an RGBA PNG: display sRGB, straight alpha (as the format requires), tEXt and XMP labels.

    Args:
        passes: the frame.
        bits: bits per channel, 8 or 16.
        metadata: further tEXt entries, with Latin-1 keys.
    """
    rgba = np.concatenate([passes.color, passes.alpha[..., None]], axis=-1)
    height, width = rgba.shape[:2]
    samples = quantize(rgba, (1 << bits) - 1).astype(">u2" if bits == 16 else np.uint8)
    rows = np.ascontiguousarray(samples).view(np.uint8).reshape(height, -1)
    # Filter 2, "up": each byte minus the one above it, modulo 256 (PNG specification, 9.2).
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    labels = {"Comment": SYNTHETIC_LABEL, "Software": "Portrait Actor", **metadata}
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 6, 0, 0, 0)),
            _png_chunk(b"sRGB", b"\0"),
            *(
                _png_chunk(b"tEXt", key.encode("latin-1") + b"\0" + value.encode("latin-1", "replace"))
                for key, value in labels.items()
            ),
            _png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP_PACKET.encode()),
            _png_chunk(b"IDAT", zlib.compress(filtered.tobytes(), PNG_COMPRESSION_LEVEL)),
            _png_chunk(b"IEND", b""),
        ]
    )


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
