"""The picture of a plan, and its lines."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from labd.run.planning import Bench, Window, Work, greedy
from labd.run.planning.gantt import gantt, span
from labd.run.planning.table import lines_of, told, utilisation
from tests.run.planning.shops import BENCH, cells, later, task

SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_shows_every_task_on_every_unit() -> None:
    jobs = cells(3)
    plan = greedy(jobs, BENCH, 0.0)
    picture = ET.fromstring(gantt(plan, jobs, title="three cells"))
    tips = [title.text or "" for title in picture.iter(f"{SVG}title")]
    assert sum("job-0002: prepare" in tip for tip in tips) == 4  # arm, bath, press, robot
    assert sum("wet.start to crimp.start" in tip for tip in tips) == 3
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"arm", "bath", "press", "robot", "now", "windows"} <= set(texts)


def test_the_picture_is_the_same_each_time_and_escapes_what_people_write() -> None:
    jobs = [Work("<a&b>", (task('s"1', 10, "arm"),), windows=(Window((0, "start"), (0, "end"), 20, name="<w>"),))]
    bench = Bench({"arm": ("arm <1>",)})
    plan = greedy(jobs, bench, 0.0)
    first = gantt(plan, jobs, title="x < y")
    assert first == gantt(plan, jobs, title="x < y")
    assert "<a&b>" not in first
    assert ET.fromstring(first) is not None


def test_a_plan_without_works_is_drawn_too() -> None:
    plan = greedy([], BENCH, 0.0)
    assert ET.fromstring(gantt(plan)) is not None
    assert plan.makespan == 0


def test_what_has_begun_is_drawn_from_its_begin() -> None:
    jobs = cells(2)
    under_way = later(greedy(jobs, BENCH, 0.0), jobs, 500.0)
    plan = greedy(under_way, BENCH, 500.0)
    tips = [title.text or "" for title in ET.fromstring(gantt(plan, under_way)).iter(f"{SVG}title")]
    assert any(tip.startswith("job-0001: prepare, -500") or "prepare, -8" in tip for tip in tips)


def test_lines_tell_the_bound_the_busy_units_and_the_windows() -> None:
    jobs = cells(4)
    plan = greedy(jobs, BENCH, 0.0)
    lines = list(lines_of(plan, jobs))
    assert any(line.startswith("arm: busy 9") for line in lines)
    assert any(line.startswith("window wet.start to crimp.start: all kept") for line in lines)
    assert sum(line.startswith("job-") for line in lines) == 4
    assert utilisation(plan)["press"] < utilisation(plan)["arm"] <= 1
    assert told(plan, jobs)["windows"]["wet.start to crimp.start"]["broken"] == 0


def test_spans_read_well() -> None:
    assert [span(90), span(750), span(7.5 * 3600), span(0, 5000)] == ["90 s", "12.5 min", "7.5 h", "0 min"]
