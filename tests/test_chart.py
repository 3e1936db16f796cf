"""Charts as standalone files: well-formed, with every point at its position."""

import math
import re
from xml.etree import ElementTree

from sayso.report.chart import HEIGHT, LEFT, TOP, WIDTH, Panel, Series, picture

SVG = "{http://www.w3.org/2000/svg}"


def test_points_are_drawn_at_their_positions() -> None:
    """The ends of a range are the corners of the panel; NaN is omitted."""
    dots = Series("a < b", [(0, 0), (10, 1), (5, math.nan)], style="dots")
    root = ElementTree.fromstring(picture("Title & more", [Panel("one", "x", "y", [dots], (0, 10), (0, 1))], "note"))
    spots = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in root.iter(f"{SVG}circle")]
    assert spots[:2] == [(LEFT, TOP + HEIGHT), (LEFT + WIDTH, TOP)]
    assert len(spots) == 3  # two points, and the one of the legend
    said = [one.text for one in root.iter(f"{SVG}text")]
    assert {"Title & more", "a < b", "note", "one", "x", "y"} <= {*said}


def test_intervals_are_bands_of_lines_and_whiskers_of_dots() -> None:
    """They extend the range of the axis."""
    points, reach = [(0.0, 1.0), (1.0, 2.0)], [(0.5, 1.5), (1.0, 4.0)]
    for style, mark in (("line", "Z"), ("both", "M")):
        drawn = picture("t", [Panel("p", "x", "y", [Series("s", points, style=style, reach=reach)])])  # type: ignore[arg-type]
        assert re.search(rf'd="M[^"]*{mark}[^"]*"', drawn)
        assert ">4<" in drawn
