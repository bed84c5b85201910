"""The course as a website (`make book`), built from the committed notebooks and read in Chromium."""

import functools
import http.server
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

pytest.importorskip("myst_nb", reason="pip install -e .[book]")

ROOT = Path(__file__).resolve().parent.parent
LESSONS = [f"notebooks/{path.stem}.html" for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """The website's folder; any warning of Sphinx, such as a link to nowhere, is an error."""
    folder = tmp_path_factory.mktemp("book")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-c",
        "tools/book",
        ".",
        str(folder),
    ]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


class Page(HTMLParser):
    """What a page links to and what can be linked to in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.pictures = [], {"", "top"}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "img":
            self.pictures.append(attributes)


@pytest.mark.full
def test_every_link_and_anchor_leads_somewhere(book):
    pages = {
        path.relative_to(book).as_posix(): Page(path)
        for path in book.rglob("*.html")
        if "_static" not in path.parts
    }
    assert set(LESSONS) < set(pages)
    for name, page in pages.items():
        for link in page.links:
            target = urlsplit(urljoin(f"book:///{name}", link))
            if target.scheme == "book":
                file = unquote(target.path.strip("/")) or "index.html"
                assert (book / file).exists(), f"{name}: {link}"
                if file in pages:
                    assert unquote(target.fragment) in pages[file].anchors, f"{name}: {link}"


def test_a_helper_in_a_notebooks_code_leads_to_what_it_does_and_to_its_own_code(book):
    links = Page(book / "notebooks" / "04_training.html").links
    assert "../tools/book/helpers.html#helpers.storage.load_or_train" in links
    assert "../_modules/helpers/quickstart.html" in links  # from the text
    about = Page(book / "tools" / "book" / "helpers.html")
    assert "../../_modules/helpers/storage.html#load_or_train" in about.links
    modules = {f"module-helpers.{path.stem}" for path in (ROOT / "helpers").glob("[a-z]*.py")}
    assert modules <= about.anchors


@pytest.mark.slow
def test_every_picture_has_a_text(book):
    for name in ["index.html", *LESSONS]:
        for picture in Page(book / name).pictures:
            if "_static" not in picture["src"]:  # the theme's own
                assert len(picture["alt"]) > 30, f"{name}: {picture['alt']}"


@pytest.mark.slow
def test_formulas_are_drawn_without_a_script(book):
    text = (book / "notebooks" / "04_training.html").read_text(encoding="utf-8")
    assert text.count("<math") >= 3
    assert not re.search(r"<script[^>]*mathjax", text, flags=re.IGNORECASE)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address(book):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(book)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def page(browser, address):
    """A page that fails the test if a script fails or something cannot be loaded."""
    page = browser.new_page(base_url=address)
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if address in request.url else faults.append(request.url))
    page.on("response", lambda answer: faults.append(answer.url) if answer.status >= 400 else None)
    yield page
    page.close()
    # Browsers ask for an icon by themselves where a page names none.
    assert not [fault for fault in faults if not fault.endswith(("/favicon.ico", "(File not found)"))]


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.slow
def test_no_page_scrolls_sideways(page, book, width):
    page.set_viewport_size({"width": width, "height": 800})
    for path in [*book.glob("*.html"), *book.glob("notebooks/*.html"), *book.glob("tools/book/*.html")]:
        page.goto(path.relative_to(book).as_posix())
        excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert excess <= 0, path.name


@pytest.mark.slow
def test_nothing_keeps_people_from_reading(page):
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()
    # The others take minutes.
    for name in ["index.html", LESSONS[0], LESSONS[12], "tools/book/helpers.html", "search.html"]:
        page.goto(name)
        found = axe.run(
            page, options={"resultTypes": ["violations"], "iframes": False, "preload": False}
        ).response["violations"]
        serious = [
            (rule["id"], node["html"][:200])
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
        assert not serious, f"{name}: {serious}"


@pytest.mark.slow
def test_search_finds_dropout(page):
    page.goto("search.html?q=dropout")
    page.wait_for_selector("#search-results li")
    assert any("Training" in text for text in page.locator("#search-results li a").all_inner_texts())


@pytest.mark.slow
def test_solutions_are_folded_and_open_by_keyboard(page):
    page.goto(LESSONS[4])
    folded = page.locator("div.tag_solution details").first
    assert folded.evaluate("element => !element.open")
    folded.locator("summary").focus()
    page.keyboard.press("Enter")
    assert folded.evaluate("element => element.open") and folded.locator("code, pre").first.is_visible()


@pytest.mark.slow
def test_the_page_to_draw_on_is_live_in_its_lesson_and_on_its_own(page):
    page.goto("notebooks/12_draw_a_digit.html")
    frame = page.frame_locator("iframe").first
    frame.locator("canvas").first.wait_for()
    page.goto("draw_a_digit.html")
    assert page.locator("canvas").first.is_visible()


def test_links_to_the_page_to_draw_on_show_a_picture(book):
    page = (book / "draw_a_digit.html").read_text(encoding="utf-8")
    (picture,) = re.findall('<meta property="og:image" content="(https://.+)">', page)
    (canonical,) = re.findall(
        'rel="canonical" href="(.+)README.html"', (book / "README.html").read_text("utf-8")
    )
    assert picture.startswith(canonical) and (book / picture.removeprefix(canonical)).is_file()
