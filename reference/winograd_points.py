"""How much do Winograd's points lose? Errors of F(2 x 2, 3 x 3) and F(4 x 4, 3 x 3), in f32 and with factors rounded to bf16.

    python reference/winograd_points.py

Random pixels, half of them zero, random filters and output gradients; 64 channels, and 256 for outputs in f32. Printed is the root mean square of the
error, against sums in f64, over that of the result. Needs numpy alone. `benchmarks/LOG.md` has the table, `winograd/points.rs` the choice.
"""

import numpy

TILES = 40
CHOICES = [[0, 1, -1], [0, 1, -1, 2, -2], [0, 5 / 8, -5 / 8, 3 / 2, -3 / 2], [0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5)]]


def f32(values):
    return numpy.asarray(values, numpy.float32)


def bf16(values):
    """Rounded to the nearest, ties to even."""
    bits = f32(values).view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(numpy.uint32).view(numpy.float32)


def matrices(points):
    """Aᵀ, Bᵀ and G of Lavin & Gray for these points and infinity, by Toom and Cook."""
    side = len(points) - 1
    others = [[other for other in points if other != point] for point in points]
    scale = [numpy.prod([point - other for other in rest]) for point, rest in zip(points, others)]
    a = [[point**power for power in range(side)] for point in points] + [[0] * (side - 1) + [1]]
    b = [[*numpy.poly(rest)[::-1], 0] for rest in others] + [numpy.poly(points)[::-1]]
    g = [[point**power / at for power in range(3)] for point, at in zip(points, scale)] + [[0, 0, 1]]
    return numpy.array(a, float).T, numpy.array(b, float), numpy.array(g, float)


def slide(pixels, window, count):
    """Sums of a window over all channels at count x count places."""
    height = window.shape[1]
    places = [(y, x) for y in range(count) for x in range(count)]
    sums = [(pixels[:, y : y + height, x : x + height] * window).sum() for y, x in places]
    return numpy.array(sums).reshape(count, count)


def in_order(factors, others):
    """Products summed channel after channel in f32."""
    total = numpy.zeros(factors.shape[1:], numpy.float32)
    for left, right in zip(factors, others):
        total = total + left * right
    return total


def relative(pairs):
    errors, sizes = zip(*[(((found - true) ** 2).mean(), (true**2).mean()) for found, true in pairs])
    return (numpy.mean(errors) / numpy.mean(sizes)) ** 0.5


def errors(points, channels, rounded):
    """Of outputs and of gradients to the filter; `rounded` is what transformed values become."""
    a, b, g = matrices(points)
    side, span = len(a), len(b)
    random = numpy.random.default_rng(0)
    outputs, gradients = [], []
    for _ in range(TILES):
        pixels = numpy.maximum(rounded(random.normal(size=(channels, span, span))), 0).astype(float)
        weights = f32(0.05 * random.normal(size=(channels, 3, 3))).astype(float)
        slopes = rounded(random.normal(size=(channels, side, side))).astype(float)
        spread = rounded(f32(b) @ f32(pixels) @ f32(b.T))
        output = a @ in_order(spread, rounded(f32(g) @ f32(weights) @ f32(g.T))) @ a.T
        gradient = g.T @ in_order(spread, rounded(f32(a.T) @ f32(slopes) @ f32(a))) @ g
        outputs.append((output, slide(pixels, weights, side)))
        gradients.append((gradient, slide(pixels, slopes, 3)))
    return relative(outputs), relative(gradients)


def direct_error(channels, rounded):
    """Of outputs, summed tap after tap; the weights are rounded."""
    random = numpy.random.default_rng(0)
    outputs = []
    for _ in range(16 * TILES):
        pixels = numpy.maximum(rounded(random.normal(size=(9 * channels, 1))), 0)
        weights = f32(0.05 * random.normal(size=(9 * channels, 1)))
        outputs.append((in_order(pixels, rounded(weights)), (pixels.astype(float) * weights).sum(axis=0)))
    return relative(outputs)


def main():
    f32_errors = direct_error(64, f32), direct_error(256, f32)
    print("direct: f32 {:.1e} ({:.1e});".format(*f32_errors), f"bf16 {direct_error(64, bf16):.2%}")
    for points in CHOICES:
        (output, gradient), (deeper, _) = errors(points, 64, f32), errors(points, 256, f32)
        print(f"{points}: f32 {output:.1e} ({deeper:.1e}), gradient {gradient:.1e};", end=" ")
        output, gradient = errors(points, 64, bf16)
        print(f"bf16 {output:.2%}, gradient {gradient:.2%}")


if __name__ == "__main__":
    main()
