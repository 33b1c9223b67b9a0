"""The page of `currant report`, in a headless Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from currant import Command, DependencyError, Exit, Exited, Ready, Skipped, Started, Usage, ready
from currant._system.session_usage import SessionUsage
from currant._timeline import read_report, write_page
from currant.sinks._trace_events import HEADER
from currant.sinks._trace_timeline import Timeline
from tests.chromium import needs_chromium, open_browser
from tests.playing import err

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from currant import BatchMessage
    from tests.chromium import Page

pytestmark = [needs_chromium, pytest.mark.slow]

MANY = 10_000


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser, which takes a second or two to start."""
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def browser(shared_browser: Page) -> Iterator[Page]:
    """A browser, which at the end must have seen no error, and no request but for files."""
    shared_browser.errors.clear()
    shared_browser.requests.clear()
    yield shared_browser
    assert shared_browser.errors == []
    assert [url for url in shared_browser.requests if not url.startswith("file://")] == []


def page_of(folder: Path, messages: Sequence[BatchMessage], commands: Sequence[Command]) -> str:
    """Write the page of a run of 10 seconds, and return its address."""
    timeline = Timeline(0.0, {str(each.name): each for each in commands}, in_slots=False)
    if messages:
        timeline.add_usage(2.0, {11: SessionUsage(1, 2 << 20, 0.5)})
    for message in messages:
        timeline.add(message)
    timeline.finish(10.0)
    trace = folder / "trace.json"
    trace.write_bytes(HEADER + timeline.take() + b"]\n")
    page = folder / "trace.html"
    with trace.open("rb") as file:
        page.write_text(write_page(read_report(file), "trace.json"))
    return page.as_uri()


@pytest.fixture
def small(tmp_path: Path) -> str:
    """The page of four commands: web waits for db; test fails, so last is skipped."""
    commands = [
        Command(["db"], ready=ready.line("up")),
        Command(["web"], after=["db"]),
        Command(["test"]),
        Command(["last"], after={"test": "succeeded"}),
    ]
    messages: list[BatchMessage] = [
        Started("db", 11, 1, 1.0),
        Started("test", 12, 1, 1.0),
        err("test", b"</script><img src=//example.org/x>\n", 1.5),
        Exited("test", Exit(3, None), 1, 2.0, Usage(0.5, 0.25, 3 << 20)),
        Skipped("last", DependencyError("last", "test failed"), 2.0),
        Ready("db", 2.0, 3.0),
        Started("web", 13, 1, 3.0, launching=0.25),
        Exited("web", Exit(0, None), 1, 8.0, Usage(2.0, 0.25, 9 << 20)),
        Exited("db", Exit(0, None), 1, 10.0, Usage(1.0, 0.25, 5 << 20), stopping=0.5),
    ]
    return page_of(tmp_path, messages, commands)


def names(page: Page) -> list[str]:
    """Return the commands in the table, in the order shown."""
    found: list[str] = page.run(
        "[...document.querySelectorAll('#rows button.name')].map((each) => each.textContent)"
    )
    return found


def details(page: Page) -> str:
    """Return the text of the details."""
    text: str = page.run("document.querySelector('#details').innerText")
    return text


def sort(page: Page, title: str) -> str:
    """Press the button of a column, and return the order that the column says it has."""
    order: str = page.run(
        f"""(() => {{
            const heads = [...document.querySelectorAll('#heads th')];
            const head = heads.find((each) => each.innerText.startsWith({title!r}));
            head.querySelector('button').click();
            return head.getAttribute('aria-sort');
        }})()"""
    )
    return order


def test_table_has_the_results(browser: Page, small: str) -> None:
    """Each row has the command, the status in words, the exit, the usage and the last lines."""
    browser.open(small)
    assert names(browser) == ["db", "test", "last", "web"]
    rows: list[str] = browser.run(
        "[...document.querySelectorAll('#rows tr')].map((each) => each.textContent)"
    )
    assert rows[1] == (
        "test✗ failedexit code 31.00 s1.00 s750 ms3.0 MiB35 B"
        "1 line</script><img src=//example.org/x>"
    )
    assert "↷ skipped'last' was skipped: test failed" in rows[2]
    assert browser.run("document.querySelector('#summary').textContent").startswith(
        "10.00 s; 2 succeeded, 1 failed, 1 skipped; at most 2 at a time, at most 350 B/s of "
        "output, 47 % of a processor and 2.0 MiB of memory."
    )
    assert browser.run("document.querySelector('#more').hidden")


def test_table_is_sorted_by_its_heads(browser: Page, small: str) -> None:
    """The buttons of the heads sort, in turn in both orders; rows without a value stay last."""
    browser.open(small)
    assert sort(browser, "Peak memory") == "descending"
    assert names(browser) == ["web", "db", "test", "last"]
    assert sort(browser, "Peak memory") == "ascending"
    assert names(browser) == ["test", "db", "web", "last"]
    assert sort(browser, "Command") == "ascending"
    assert names(browser) == ["db", "last", "test", "web"]


def test_filter_is_for_table_and_timeline(browser: Page, small: str) -> None:
    """The text and the statuses choose the rows of the table and the lanes of the timeline."""
    browser.open(small)
    browser.run("document.querySelector('#text').focus()")
    for letter in "EXIT":
        browser.press(letter)
    assert names(browser) == ["db", "test", "web"]
    browser.click("#statuses input[value=succeeded]")
    assert names(browser) == ["test"]
    assert browser.run("timeline.lanes.map(([, name]) => name)") == ["test"]
    assert browser.run("document.querySelector('#count').textContent") == "1 of 4 results"


def test_critical_path_is_listed(browser: Page, small: str) -> None:
    """The path has the times until each command let the next one go on."""
    browser.open(small)
    assert browser.run("document.querySelector('#path-rows').innerText") == (
        "db\t1.00 s\t2.00 s\tweb could go on\nweb\t3.00 s\t5.00 s\tits end"
    )


def test_page_works_without_a_mouse(browser: Page, small: str) -> None:
    """Tab reaches the timeline; its keys choose, zoom, move and reset; the details are told."""
    browser.open(small)
    for _ in range(30):
        if browser.run("document.activeElement.id") == "canvas":
            break
        browser.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(outline) == "solid"
    browser.press("ArrowDown")
    assert details(browser).startswith("Command\ndb\n")
    assert "Until ready\n2.00 s\nRunning\n6.50 s\nStopping\n500 ms\n" in details(browser)
    browser.press("ArrowDown")
    browser.press("ArrowDown")
    assert "Exit\nexit code 3" in details(browser)
    assert "<img src=//example.org/x>" in details(browser)
    browser.press("+")
    browser.press("+")
    assert browser.run("axis.span") == pytest.approx(2.5e6)
    assert browser.run("axis.begin") < 1.5e6  # The middle of the chosen row is still visible.
    begin = browser.run("axis.begin")
    browser.press("ArrowRight")
    assert browser.run("axis.begin") > begin
    browser.press("0")
    assert browser.run("axis.span") == pytest.approx(10e6)
    browser.press("Escape")
    assert details(browser) == ""
    assert browser.run("document.querySelector('#details').getAttribute('role')") == "status"


def test_screen_reader_finds_all_names(browser: Page, small: str) -> None:
    """Controls and tables have names, and each row of a table begins with its head."""
    browser.open(small)
    found = browser.names_by_role()
    assert found["searchbox"] == ["Filter"]
    assert found["checkbox"] == ["succeeded (2)", "failed (1)", "skipped (1)"]
    assert found["application"] == ["Timeline of the commands"]
    assert found["table"] == ["Critical path", "Results"]
    assert found["rowheader"] == ["db", "web", "db", "test", "last", "web"]
    assert "Peak memory" in [name.strip() for name in found["columnheader"]]
    assert all(found["button"])


def test_pointer_shows_and_chooses(browser: Page, small: str) -> None:
    """The pointer over a bar shows a tip, a click the details; the wheel zooms after a click."""
    browser.open(small)
    x, y = browser.run(
        """(() => {
            const { left, top } = timeline.canvas.getBoundingClientRect();
            const lane = timeline.lanes.findIndex(([, name]) => name === 'web');
            return [left + axis.x(5e6), top + timeline.y(lane) + LANE / 2];
        })()"""
    )
    browser.mouse("mouseMoved", x, y)
    assert browser.run("document.querySelector('#tip').textContent").startswith("web\n")
    assert "Starting: 250 ms" in browser.run("document.querySelector('#tip').textContent")
    browser.mouse("mouseMoved", x, y - browser.run("timeline.y(1)"))
    assert browser.run("document.querySelector('#tip').textContent") == (
        "At 5.00 s\nRunning: 2\nOutput: 0 B/s\nProcessor: 47 %\nMemory: 2.0 MiB"
    )
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
    assert browser.run("axis.span") == pytest.approx(10e6)
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseReleased", x, y, button="left", clickCount=1)
    assert "web" in details(browser)
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
    assert browser.run("axis.span") < 9e6


def colors(page: Page) -> tuple[Any, Any]:
    """Return the background of the page, and of the timeline."""
    back = page.run("getComputedStyle(document.body).backgroundColor")
    canvas = page.run("[...timeline.pen.getImageData(1, 1, 1, 1).data].slice(0, 3)")
    return back, canvas


def test_page_is_dark_if_the_system_is(browser: Page, small: str) -> None:
    """The page and the timeline have the colours that the system prefers."""
    browser.open(small)
    assert colors(browser) == ("rgb(255, 255, 255)", [255, 255, 255])
    browser.open(small, dark=True)
    assert colors(browser) == ("rgb(23, 23, 28)", [23, 23, 28])


@pytest.mark.parametrize("width", [390, 1280])
def test_page_is_as_wide_as_the_window(browser: Page, small: str, width: int) -> None:
    """Only the tables scroll to the side, and the timeline is as wide as the page."""
    browser.open(small, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("timeline.canvas.getBoundingClientRect().right") <= width


def test_print_has_all(browser: Page, small: str) -> None:
    """The printer gets the whole run in light colours; then all is as before."""
    browser.open(small, dark=True)
    browser.run("axis.zoom(0.5)")
    browser.run(
        """addEventListener('beforeprint', () => {
            window.printed = [axis.span, document.querySelector('#rows details').open,
                              [...timeline.pen.getImageData(1, 1, 1, 1).data].slice(0, 3)];
        })"""
    )
    assert browser.pdf().startswith(b"%PDF")
    span, is_open, color = browser.run("printed")
    assert (span, is_open, color) == (pytest.approx(10e6), True, [255, 255, 255])
    assert browser.run("axis.span") == pytest.approx(5e6)
    assert colors(browser) == ("rgb(23, 23, 28)", [23, 23, 28])


def test_timeline_is_as_wide_as_the_paper(browser: Page, small: str) -> None:
    """On paper the timeline is drawn for no window, and fills the width."""
    browser.open(small)
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.run("timeline.print(true)")
    wide = "timeline.canvas.getBoundingClientRect().width / timeline.scroller.clientWidth"
    assert browser.run(wide) == pytest.approx(1)
    browser.call("Emulation.setEmulatedMedia", media="")


def test_trace_without_commands_has_a_page(browser: Page, tmp_path: Path) -> None:
    """A run in which nothing has happened is shown, too."""
    browser.open(page_of(tmp_path, [], []))
    assert names(browser) == []


def test_ten_thousand_commands_open_fast(browser: Page, tmp_path: Path) -> None:
    """The page is ready soon, because it makes what is visible; the table comes in pieces."""
    commands = [Command([f"job-{number}"]) for number in range(MANY)]
    messages: list[BatchMessage] = []
    for number in range(MANY):
        name, time = f"job-{number}", number / 1000
        messages.append(Started(name, 1, 1, time))
        messages.append(Exited(name, Exit(int(number == 777), None), 1, time))
    browser.open(page_of(tmp_path, messages, commands))
    milliseconds = browser.run("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert milliseconds < 20_000  # It takes 300; this is for machines with other work.
    assert len(names(browser)) == 200
    browser.click("#more-some")
    assert len(names(browser)) == 400
    browser.click("#statuses input[value=succeeded]")
    assert names(browser) == ["job-777"]
