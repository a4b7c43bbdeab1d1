"""Random scalars, often at the edges of their types."""

import math
import struct


def integers(random, bits, signed=True):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    edges = [0, 1, -1, low, high, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) + 1, -(2**53), -(2**53) - 1]
    drawn = random.choice([random.choice(edges), random.randint(low, high), random.randint(-1000, 1000)])
    return min(max(drawn, low), high)


def floats(random, bits, finite=False):
    edges = [0.0, -0.0, 0.1, 1.5, -2.5e-7, 1e21, 1e300] + ([] if finite else [math.nan, math.inf, -math.inf])
    name = "d" if bits == 64 else "f"
    drawn = struct.unpack(name, random.randbytes(bits // 8))[0]
    drawn = random.choice([drawn, random.choice(edges), random.uniform(-1000, 1000)])
    if bits == 32 and abs(drawn) > 3e38 and math.isfinite(drawn):
        drawn = 3e38
    if finite and not math.isfinite(drawn):
        drawn = 0.25
    # JSON has one NaN.
    return math.nan if math.isnan(drawn) else struct.unpack(name, struct.pack(name, drawn))[0]


def text(random):
    drawn = random.choice([ALPHABET, "abc"])
    return "".join(random.choice(drawn) for _ in range(random.choice([0, 1, 5, 20])))


ALPHABET = "aZ09 _-/\\\"'<>&{}\u0000\u0001\n\t\u007f\u0080äß€\u2028\ufeff\ufffd漢字🦀\U0010ffff"
