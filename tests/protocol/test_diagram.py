"""A protocol as Mermaid and as SVG: everything is in it, and nothing covers anything else."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labd.protocol import InputErrors, load, mermaid
from labd.protocol.views.placing import Link, Placed, Size, place
from labd.protocol.views.svg import svg, width_of
from tests.protocol.sound import SOUND, spoilt
from tests.protocol.told import FILES, protocol

Rectangle = tuple[float, float, float, float]


# ── Mermaid ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_mermaid_has_every_state_and_way() -> None:
    text = mermaid(load(SOUND))
    assert text.startswith("stateDiagram-v2\n    [*] --> dose\n    dose : dose (robot)\n    dose --> crimp\n")
    assert "    crimp --> scrap : after 2 visits\n" in text
    assert "    crimp --> hold_2 : catch#58; timeout\n" in text
    assert "    hold_2 : hold#58; The press is slow.\n    hold_2 --> crimp : operator\n" in text
    assert "    look --> form : keep it\n" in text
    assert "    done --> [*]\n" in text


def test_mermaid_tells_branches_watches_windows_calls_and_cleanup() -> None:
    text = mermaid(protocol("everything"))
    assert "    fetch : fetch (arm, cycler, press)<br/>∥ carry#58; arm.pick#59; arm.place<br/>∥ ready" in text
    assert "    crimp --> hold_3 : watch#58; not press.guard_closed\n" in text
    assert "watch#58; press.force #gt; 9.5 kN for 500 ms or after 2 visits\n" in text
    assert "        window: dose.start → crimp.start within 4 min, else scrap\n" in text
    assert "<br/>call rest_and_read@1\n" in text
    assert "        on stop, abort, scrap: press.open#59; if arm.gripped#59; arm.place\n" in text
    assert "    form --> scrap : not in time#58; cycler.voltage #gt; 3 V\n" in text


@pytest.mark.parametrize("word", ["end", "state", "note", "class"])
def test_a_state_may_be_called_by_a_word_of_mermaids(word: str) -> None:
    renamed = re.sub(r"\bscrap(?=[:,}\]\n])", word, SOUND).replace(f"{word}: {word}", f"scrap it: {word}")
    text = mermaid(load(renamed))
    assert f"    {word}_ : {word} (scrapped)\n" in text


# ── SVG ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def drawn(name: str) -> ET.Element:
    return ET.fromstring(svg(protocol(name)))


@pytest.mark.parametrize("name", FILES)
def test_every_state_has_its_box_and_every_text_is_inside_the_picture(name: str) -> None:
    root = drawn(name)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    texts = [element for element in root.iter() if element.tag.endswith("}text")]
    shown = {element.text for element in texts}
    assert set(protocol(name).states) <= shown
    for element in texts:
        x, length = float(element.get("x", 0)), width_of(element.text or "", 11)
        assert 0 <= x <= width
        assert 0 < float(element.get("y", 0)) < height
        assert x + (length / 2 if element.get("text-anchor") else length) <= width + 1


def test_the_same_protocol_gives_the_same_bytes() -> None:
    assert svg(protocol("everything")) == svg(protocol("everything"))


def test_texts_are_escaped() -> None:
    text = svg(load(spoilt("summary: Dose and crimp.", 'summary: "<script>alert(1)</script> & more"')))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text


def test_ends_have_the_colour_of_their_outcome_and_holds_their_own() -> None:
    text = svg(protocol("everything"))
    assert text.count('fill="#d9f2df"') == 1
    assert text.count('fill="#fde3d3"') == 1
    assert text.count('fill="#fff6d6"') == 5


def test_a_protocol_that_does_not_hold_is_not_drawn() -> None:
    with pytest.raises(InputErrors):
        svg(load(spoilt("press.crimp", "press.crmp")))


# ── placing ──────────────────────────────────────────────────────────────────────────────────────────────────────
@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, Size], list[Link]]:
    """Boxes that can all be reached from the first, with further links in all directions."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 12)))]
    side = st.integers(10, 300)
    sizes = {name: Size(draw(side), draw(side), draw(st.sampled_from([0.0, 80.0]))) for name in names}
    pairs = {(names[draw(st.integers(0, number - 1))], names[number]) for number in range(1, len(names))}
    pairs |= {
        (source, target)
        for source, target in draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=12))
        if source != target
    }
    return sizes, [Link(one, other, Size(draw(side), draw(st.integers(0, 40)))) for one, other in sorted(pairs)]


def boxes_of(sizes: dict[str, Size], found: Placed) -> list[Rectangle]:
    return [
        (x - sizes[name].width / 2, y, x + sizes[name].width / 2 + sizes[name].beside, y + sizes[name].height)
        for name, (x, y) in found.boxes.items()
    ]


def apart(one: Rectangle, other: Rectangle) -> bool:
    gaps = (other[0] - one[2], one[0] - other[2], other[1] - one[3], one[1] - other[3])
    return max(gaps) > -0.01


@settings(deadline=None, max_examples=60)
@given(graphs())
def test_no_box_or_label_covers_another_and_no_link_runs_through_a_box(
    graph: tuple[dict[str, Size], list[Link]],
) -> None:
    sizes, links = graph
    found = place(sizes, links, "s0")
    boxes = boxes_of(sizes, found)
    labels = []
    for link, route in zip(links, found.routes, strict=True):
        x, y = route.label
        across, down = link.label.width / 2, link.label.height / 2
        labels.append((x - across, y - down, x + across, y + down))
    shapes = [*boxes, *labels]
    assert all(apart(one, other) for index, one in enumerate(shapes) for other in shapes[index + 1 :])
    for route in found.routes:
        for x, begin, end in route.stretches:
            low, high = sorted((begin, end))
            upright = (x - 1, low + 0.01, x + 1, high - 0.01)
            assert high - low < 0.1 or all(apart(upright, box) for box in boxes)
    assert all(box[0] >= -0.01 and box[2] <= found.width + 0.01 and box[3] <= found.height + 0.01 for box in boxes)


def test_links_lead_from_their_source_to_their_target_also_backwards() -> None:
    sizes = {"a": Size(50, 20), "b": Size(50, 20)}
    links = [Link("a", "b", Size(0, 0)), Link("b", "a", Size(0, 0))]
    found = place(sizes, links, "a")
    assert found.boxes["a"][1] < found.boxes["b"][1]
    down, up = found.routes
    assert down.stretches[0][1] < down.stretches[-1][1]
    assert up.stretches[0][1] > up.stretches[-1][1]
