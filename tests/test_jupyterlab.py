"""Every notebook in JupyterLab, as a reader has it: in Chromium, opened as committed and looked at.

Two of them are also run by the menu, 04 for its progress and 12 for its drawing: copies without stored
outputs, on the sample, with all other parameters at their defaults. (That all run to the end is tested in
test_notebooks.) One server for all. To see pictures of these, name a folder in the environment variable
``LAB_PICTURES``.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from playwright.sync_api import expect

from tests.test_notebooks import NOTEBOOKS, ROOT, is_progress

RUN = [path for path in NOTEBOOKS if path.name[:2] in ("04", "12")]
OPENED = [path for path in NOTEBOOKS if path not in RUN]
STROKES = {1: "50,0 48,50 46,100", 3: "10,8 50,0 85,15 80,38 40,48 80,58 90,80 60,100 8,92"}
ASK = 'print("read as", names[best], "drawn" if pad.digit is not None else "not drawn")'
MINUTES = 60_000

# What Playwright looks for in the page.
IDLE = ".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status=idle]"
ERRORS = "[data-mime-type='application/vnd.jupyter.error']"
STDERR = "[data-mime-type='application/vnd.jupyter.stderr']"
STARTED = """() => [...document.querySelectorAll(".jp-CodeCell .jp-InputArea-prompt")]
  .some((prompt) => /^\\[(\\*|\\d+)\\]:$/.test(prompt.textContent))"""
FINISHED = f"""() => document.querySelector("{ERRORS}") || document.querySelector("{IDLE}")
  && [...document.querySelectorAll(".jp-CodeCell .jp-InputArea-prompt")]
    .every((prompt) => /^\\[\\d+\\]:$/.test(prompt.textContent))"""
# Keep when the last line on stderr of each output changed: [seconds, text], every 100 ms.
WATCH = f"""() => {{
  const seen = new Map();
  window.seen = [];
  setInterval(() => document.querySelectorAll("{STDERR}").forEach((output) => {{
    if (!seen.has(output)) window.seen.push(seen.set(output, []).get(output));
    const texts = seen.get(output), text = output.textContent;
    if (texts.at(-1)?.[1] !== text) texts.push([performance.now() / 1000, text]);
  }}), 100);
}}"""


def copy_of(path):
    """Return a notebook without outputs that runs on the sample; 12 ends with what the pad's digit is."""
    notebook = load_notebook_node(str(path))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if path.stem.startswith("12_"):
        notebook.cells.append(nbformat.v4.new_code_cell(ASK, metadata={"tags": []}))
    return parameterize_notebook(notebook, {"dataset": "sample"}, report_mode=False)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Start JupyterLab on copies of the notebooks; yield its address."""
    home = tmp_path_factory.mktemp("lab")
    (home / "course" / "notebooks").mkdir(parents=True)
    shutil.copytree(ROOT / "figures", home / "course" / "figures")
    shutil.copy(ROOT / "README.md", home / "course")
    for path in NOTEBOOKS:
        notebook = copy_of(path) if path in RUN else nbformat.read(path, as_version=4)
        nbformat.write(notebook, home / "course" / "notebooks" / path.name)
    ours = {name: value for name, value in os.environ.items() if name not in ("MNIST_PATH", "MPLBACKEND")}
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MNIST_RUNS"):
        ours[name] = str(home / name.lower())
    news = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false"}')  # as `make lab`: no question that covers the page
    ours["JUPYTERLAB_SETTINGS_DIR"] = str(home / "settings")
    ours |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "JUPYTER_PREFER_ENV_PATH": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={home / 'course'}"]
    with open(home / "log", "w+") as log:
        server = subprocess.Popen(command, env=ours, stdout=log, stderr=log)
        try:
            yield address(Path(ours["JUPYTER_RUNTIME_DIR"]), server, home / "log")
        finally:
            server.terminate()  # and its kernels
            server.wait(60)


def address(folder, server, log):
    """Wait until the server has written where it is."""
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        for file in folder.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # not yet whole
                return json.loads(file.read_text())["url"]
        time.sleep(0.1)
    raise RuntimeError(log.read_text()[-3000:])


@pytest.fixture
def open_notebook(lab, browser):
    """Open a notebook and wait for its kernel; at the end, stop the kernel."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    broken = []
    page.on("pageerror", lambda error: broken.append(str(error)))

    def open_(path):
        page.goto(f"{lab}lab/tree/notebooks/{path.name}?reset", timeout=2 * MINUTES)
        page.wait_for_selector(IDLE, timeout=2 * MINUTES)
        page.wait_for_timeout(1000)  # idle is shown for a moment before the kernel takes work
        page.wait_for_selector(IDLE, timeout=MINUTES)
        return page

    yield open_
    menu(page, "Kernel", "Shut Down Kernel")
    page.wait_for_selector(IDLE, state="detached", timeout=MINUTES)
    page.close()
    assert broken == []


def menu(page, name, item):
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{name}$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{item}$")).click()


def run_all(page, minutes=10):
    menu(page, "Run", "Run All Cells")
    page.wait_for_function(STARTED, timeout=MINUTES)
    page.wait_for_function(FINISHED, timeout=minutes * MINUTES)
    assert page.locator(ERRORS).all_inner_texts() == []


def count_of_figures(path):
    outputs = [
        output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])
    ]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_runs_and_shows_everything(open_notebook, tmp_path, path):
    page = open_notebook(path)
    run_all(page)
    assert page.locator(".jp-Dialog").count() == 0
    noise = [
        line
        for text in page.locator(STDERR).all_text_contents()
        for line in text.split("\n")
        if line.strip() and not is_progress(line)
    ]
    assert noise == []
    pictures(page, Path(os.environ.get("LAB_PICTURES", tmp_path)), path.stem)
    open_solutions(page, path)
    check_pictures(page, path)
    check_folding(page, path)
    if path.stem.startswith("12_"):
        check_drawing(page)


@pytest.mark.slow
@pytest.mark.parametrize("path", OPENED, ids=lambda path: path.stem)
def test_opens_as_committed(open_notebook, path):
    page = open_notebook(path)
    assert page.locator(".jp-Dialog").count() == 0
    open_solutions(page, path)
    check_pictures(page, path)
    check_folding(page, path)


def check_folding(page, path):
    """Set-up and checks show no code; cells are drawn little by little."""
    cells = nbformat.read(path, as_version=4).cells
    folded = [cell for cell in cells if "hide-input" in cell.metadata.get("tags", [])]
    assert len(folded) >= 4
    page.wait_for_function(
        "(count) => document.querySelectorAll('.jp-CodeCell .jp-InputPlaceholder').length === count",
        arg=len(folded),
        timeout=MINUTES,
    )
    for start in ("# Set-up: ", "# Check of the answer"):
        for cell in page.locator(".jp-CodeCell .cm-content", has_text=re.compile(f"^{start}")).all():
            assert not cell.is_visible(), start


def check_pictures(page, path):
    """Every figure of the notebook is drawn."""
    images = page.locator(".jp-OutputArea-output img")
    assert images.count() == count_of_figures(path)
    for image in images.all():
        image.scroll_into_view_if_needed()
        page.wait_for_function(
            "(image) => image.complete && image.naturalWidth > 0", arg=image.element_handle()
        )
        area = image.bounding_box()
        assert area["width"] > 50


def open_solutions(page, path):
    """Even when all cells have run, a solution is hidden until somebody clicks the button for it."""
    solutions = page.locator(".jp-CodeCell", has_text=re.compile("# Solution [0-9]"))
    buttons = page.locator(".jp-MarkdownHeadingCollapsed .jp-showHiddenCellsButton")
    count = sum(
        "solution" in cell.metadata.get("tags", []) for cell in nbformat.read(path, as_version=4).cells
    )
    expect(solutions).to_have_count(count, timeout=MINUTES)  # cells are drawn little by little
    expect(buttons).to_have_count(count, timeout=MINUTES)
    assert not any(cell.is_visible() for cell in solutions.all())
    while buttons.count():
        buttons.first.click()
    for cell in solutions.all():
        assert cell.locator(".cm-content").is_visible() and cell.locator(".jp-OutputArea-output").count()


def stroke(page, pad, digit):
    """Draw a digit in the middle of a pad with the mouse."""
    pad.scroll_into_view_if_needed()
    area = pad.bounding_box()
    points = [[float(number) / 100 for number in point.split(",")] for point in STROKES[digit].split()]
    places = [
        (area["x"] + area["width"] * (0.28 + 0.42 * x), area["y"] + area["height"] * (0.18 + 0.62 * y))
        for x, y in points
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=2)
    page.mouse.up()


def check_drawing(page):
    """The page in the notebook answers; the pad's digit reaches the kernel, and its network answers."""
    page.locator(".jp-OutputArea-output iframe").scroll_into_view_if_needed()
    frame = page.frame_locator(".jp-OutputArea-output iframe")
    stroke(page, frame.locator("#pad canvas"), 1)
    assert frame.locator("#answer").text_content() == "1"
    last = page.locator(".jp-CodeCell").last
    assert "not drawn" in last.locator(".jp-OutputArea-output").text_content()
    stroke(page, page.locator(".jp-OutputArea-output canvas").last, 3)
    reads, asks = (
        page.locator(".jp-CodeCell", has_text=text).first
        for text in ("digit = pad.digit", "best = probabilities.argmax()")
    )
    for cell in (reads, asks, last):
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(IDLE, state="detached", timeout=MINUTES)
        page.wait_for_function(FINISHED, timeout=MINUTES)
    assert last.locator(".jp-OutputArea-output").text_content().strip() == "read as 3 drawn"
    assert "Nothing is drawn" not in reads.locator(".jp-OutputArea").text_content()


@pytest.mark.timed
def test_progress_moves_while_a_network_trains(open_notebook):
    (path,) = (path for path in NOTEBOOKS if path.stem == "04_training")
    page = open_notebook(path)
    page.evaluate(WATCH)
    run_all(page)
    bars = [bar for bar in page.evaluate("seen") if "epoch " in bar[-1][1]]
    assert bars
    for bar in bars:
        gaps = [later[0] - earlier[0] for earlier, later in zip(bar, bar[1:])]
        print(f"{len(bar)} states in {bar[-1][0] - bar[0][0]:.1f} s, longest gap {max(gaps):.2f} s")
        assert max(gaps) < 1, [(round(seconds, 2), text.strip()) for seconds, text in bar]


def pictures(page, folder, name):
    """Take pictures of the notebook from top to bottom."""
    folder.mkdir(parents=True, exist_ok=True)
    page.set_viewport_size({"width": 1280, "height": 1000})
    scrolled = page.locator(".jp-NotebookPanel .jp-WindowedPanel-outer")
    scrolled.evaluate("(part) => { part.scrollTop = 0; }")
    for number in range(200):
        page.wait_for_timeout(150)  # for a picture only: until what comes into view is drawn
        scrolled.screenshot(path=folder / f"{name}_{number:02}.png")
        before = scrolled.evaluate("(part) => part.scrollTop")
        scrolled.evaluate("(part) => { part.scrollTop += part.clientHeight - 40; }")
        if scrolled.evaluate("(part) => part.scrollTop") <= before:
            break
