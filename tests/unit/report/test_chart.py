from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placer.report.chart import WIDTH, Bar, Chart, Group, Part, svg, ticks

SVG = "{http://www.w3.org/2000/svg}"
HELD = Bar(
    label="CUDA0",
    parts=(Part(kind="weights", value=30.0), Part(kind="context", value=10.0)),
    text="40, 10 left",
    mark=50.0,
)
CHART = Chart(
    title="what <one> & another hold",
    unit="MiB",
    groups=(Group(title="by formula", bars=(HELD,)),),
    legend=(("weights", "weights"), ("context", "context")),
    mark="free",
    note="A note.",
)


def drawn(chart: Chart) -> ET.Element:
    """The file as a tree."""
    return ET.fromstring(svg(chart))  # noqa: S314 - it is our own


def widths(chart: Chart) -> dict[str, float]:
    """Of the parts of the bars by kind; those of the legend are all 12 wide."""
    rects = [r for r in drawn(chart).iter(f"{SVG}rect") if r.get("height") == "14"]
    return {r.attrib["class"].split()[1]: float(r.attrib["width"]) for r in rects}


def test_parts_are_as_long_as_what_they_stand_for() -> None:
    """Three times the value is three times the length."""
    found = widths(CHART)
    assert found["weights"] == pytest.approx(3 * found["context"], abs=0.3)


def test_a_mark_stands_where_a_bar_of_its_value_would_end() -> None:
    """The stroke through the bar is on the bars' own scale."""
    lines = drawn(CHART).iter(f"{SVG}line")
    marks = [float(line.attrib["x1"]) for line in lines if line.get("class") == "mark"]
    parts = drawn(CHART).iter(f"{SVG}rect")
    start = next(
        float(part.attrib["x"]) for part in parts if part.get("class") == "bar weights"
    )
    legend, in_bar = marks
    assert legend < in_bar
    starts = [
        float(part.attrib["x"])
        for part in drawn(CHART).iter(f"{SVG}rect")
        if part.get("height") == "14"
    ]
    per_unit = sum(widths(CHART).values()) / HELD.total
    assert in_bar - min(starts) == pytest.approx(50 * per_unit, abs=0.5)
    assert start < min(starts)


def test_a_screen_reader_hears_every_figure() -> None:
    """Title and description hold what the bars show."""
    root = drawn(CHART)
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert desc is not None
    assert title.text == CHART.title
    assert desc.text == "by formula: CUDA0 40, 10 left."
    assert root.get("role") == "img"


def test_text_from_outside_is_no_markup() -> None:
    """A profile or a device can be named anything."""
    bar = Bar(label='</text><script>"', parts=(Part(kind="fits", value=1.0),), text="&")
    chart = Chart(title="<", unit="]]>", groups=(Group(title="'\"<", bars=(bar,)),))
    labels = [text.text for text in drawn(chart).iter(f"{SVG}text")]
    assert bar.label in labels
    assert not list(drawn(chart).iter(f"{SVG}script"))


def test_every_kind_has_a_colour_in_both_themes() -> None:
    """What a legend names can be told apart, and dark pages have colours of theirs."""
    text = svg(CHART)
    assert ".weights{fill:#" in text
    assert "prefers-color-scheme:dark" in text
    assert len(re.findall(r"\.page\{fill:(#\w+)\}", text)) == 2


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_ticks_are_round_and_end_within(most: float) -> None:
    """From 0, evenly, two to eight of them, none beyond what is drawn."""
    found = ticks(most)
    assert found[0] == 0
    assert 2 <= len(found) <= 8
    assert found[-1] <= most * (1 + 1e-6)


@given(st.integers(min_value=1, max_value=1000))
def test_what_is_counted_has_whole_ticks(most: int) -> None:
    """No half launch is on a scale."""
    assert all(tick == int(tick) for tick in ticks(most, whole=True))


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0, max_value=1e7),
            st.text("abc-0", max_size=24),
            st.text("019 .,()", max_size=30),
        ),
        min_size=1,
        max_size=9,
    )
)
def test_nothing_leaves_the_page(bars: list[tuple[float, str, str]]) -> None:
    """Bars and figures end within the width, whatever the labels."""
    group = Group(
        title="",
        bars=tuple(
            Bar(label=label, parts=(Part(kind="fits", value=value),), text=text)
            for value, label, text in bars
        ),
    )
    for rect in drawn(Chart(title="", unit="", groups=(group,))).iter(f"{SVG}rect"):
        end = float(rect.get("x", "0")) + float(rect.attrib["width"])
        assert end <= WIDTH
