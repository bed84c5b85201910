"""The course as a website: `make book` builds it from the committed notebooks, README, glossary and helpers.

Nothing is executed. While Sphinx reads a source, `prepare` adapts what it holds for other readers:
solutions fold, figures keep the text for those who cannot see them, the page to draw on opens.
How it looks is set in static/book.css.
"""

import html
import json
import re
import shutil
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[2]
address = re.search(r'^Repository = "(.+?)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[1]

sys.path.insert(0, str(ROOT))  # the helpers of this checkout

project = "MNIST, step by step"
author = "the mnist-classification authors"
html_title = project
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_use_index = False

root_doc = "README"
HELPERS = "tools/book/helpers"
texts = [name for name in ("GLOSSARY", "CHANGELOG", "CONTRIBUTING") if (ROOT / f"{name}.md").exists()]
include_patterns = ["README.md", *(f"{name}.md" for name in texts), "notebooks/*.ipynb", f"{HELPERS}.md"]
html_baseurl = re.sub(r"^https://github\.com/([^/]+)/(.+)$", r"https://\1.github.io/\2/", address)
html_extra_path = ["../../figures/draw_a_digit.html", "../../figures/predictions.png"]
html_favicon = "static/icon.svg"
html_static_path = ["static"]
html_css_files = ["book.css"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
extensions += ["sphinx_codeautolink"]  # a helper's name in a notebook's code leads to what it does
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
PROMPTS = {"setup": "the set-up", "check": "the check, which holds the answer", "solution": "the solution"}
html_math_renderer = "mathml"  # see the end of this file
highlight_language = "none"  # for commands; the notebooks say that their code is Python
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # links such as #course-map lead where they lead on GitHub
suppress_warnings = ["mystnb.unknown_mime_type", "mystnb.mime_priority", "myst.header"]

html_context = {"default_mode": "auto"}
html_theme = "sphinx_book_theme"
html_theme_options = {
    "repository_url": address,
    "repository_branch": "main",
    "use_repository_button": True,
    "use_issues_button": True,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "show_toc_level": 2,
    "navbar_persistent": [],  # one search box, beside the contents
    "home_page_in_toc": False,
}

CONTENTS = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""

MODULE = """
## {name}

```{{eval-rst}}
.. automodule:: helpers.{name}
```
"""


def modules():
    """Return the names of all helpers, those of packages by the package that offers them."""
    paths = sorted((ROOT / "helpers").glob("[a-z]*.py")) + sorted((ROOT / "helpers").glob("*/__init__.py"))
    return [(path.parent if path.stem == "__init__" else path).stem for path in paths]


def prepare(app, name, content):
    """Adapt the text of one source, in place."""
    if name.startswith("notebooks/"):
        content[0] = json.dumps(prepare_notebook(json.loads(content[0])))
        return
    page = prepare_links(content[0])
    if name == root_doc:
        lessons = [f"notebooks/{path.stem}" for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
        for caption, pages in (("The course", lessons), ("More", [HELPERS, *texts])):
            page += CONTENTS.format(caption=caption, pages="\n".join(pages))
    if name == HELPERS:
        page += "".join(MODULE.format(name=module) for module in modules())
    content[0] = page


def prepare_links(text):
    """Return Markdown whose links lead somewhere on the website, and load nothing from elsewhere."""
    text = re.sub(r"!\[(Open in Colab)\]\([^)]+\)", r"\1", text)  # the badge
    text = re.sub(
        r"\[([^]]+)\]\((?:\.\./)?figures/draw_a_digit\.html\)",
        lambda link: (
            f'<a href="{"../" if "../" in link[0] else ""}draw_a_digit.html">{link[1].strip("`")}</a>'
        ),
        text,
    )
    text = re.sub(
        r"\[([^]]+)\]\((\.\./)?(helpers/\w+)\.py\)",
        lambda link: f'<a href="{link[2] or ""}_modules/{link[3]}.html">{link[1].strip("`")}</a>',
        text,
    )
    text = re.sub(r"\]\((?:\.\./)?((?:tools|tests|helpers|\.github)/)", rf"]({address}/blob/main/\1", text)
    return re.sub(r"^\|.*", keep_intervals, text, flags=re.M)


def keep_intervals(row):
    """Return a row of a table in which an interval, `(0.4 to 0.6)`, does not break."""
    return re.sub(r"\(([\d.]+%?) to ([\d.]+%?)\)", "(\\1\u00a0to\u00a0\\2)", row[0])


def prepare_notebook(notebook):
    """Return a notebook with solutions to unfold and figures with their alternative texts."""
    for cell in notebook["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        if cell["cell_type"] == "markdown":
            cell["source"] = prepare_links("".join(cell["source"]))
            if cell is notebook["cells"][-1]:  # the theme has links to the neighbors there
                cell["source"] = re.sub(r"\n\n\[(← |Course map).*$", "", cell["source"])
        if "solution" in tags:
            tags.append("hide-cell")
        for tag in PROMPTS.keys() & set(tags):
            prompts = {f"code_prompt_{word.lower()}": f"{word} {PROMPTS[tag]}" for word in ("Show", "Hide")}
            cell["metadata"]["mystnb"] = prompts
        for output in cell.get("outputs", []):
            if len(re.findall(r"^.*\S  +\S", "".join(output.get("text", [])), re.M)) > 1:
                tags.append("columns")
            about = output.get("metadata", {}).get("image/png", {})
            if "alt" in about:
                picture = "".join(output["data"]["image/png"]).strip()
                output["data"] = {
                    "text/html": f'<img alt="{html.escape(about["alt"])}" width="{about["width"]}" '
                    f'src="data:image/png;base64,{picture}">'
                }
    return notebook


def write_formula(translator, node):
    """Write a formula as MathML, which browsers draw by themselves, without a script."""
    inline = isinstance(node, nodes.math)
    formula = convert(node.astext(), display="inline" if inline else "block")
    # ± needs space around it, and a hat lies close above its letter; the name of a function needs space
    # behind it, unless a parenthesis follows.
    formula = formula.replace("<mi>&#x000B1;</mi>", "<mo>&#x000B1;</mo>").replace("&#x0005E;", "&#x002C6;")
    formula = re.sub(r"<m[io]>(ln|max|cos|sin)</m[io]>", r'<mi>\1</mi><mspace width="0.17em"/>', formula)
    formula = formula.replace(
        '<mspace width="0.17em"/><mo stretchy="false">&#x00028;', '<mo stretchy="false">&#x00028;'
    )
    # The sign of a root begins as high as what it covers, and would hang far below a small letter.
    formula = formula.replace("<msqrt><mrow>", '<msqrt><mrow><mspace height="0.7em"/>')
    if not inline:  # in a box that scrolls, by keyboard too
        formula = f'<div class="formula" tabindex="0">{formula}</div>'
    translator.body.append(formula)
    raise nodes.SkipNode


def mark_code(app, doctree):
    """Mark code in sentences that has no long word: it fits on the line of a phone."""
    for code in doctree.findall(nodes.literal):
        if max(map(len, code.astext().split()), default=0) <= 24:
            code["classes"].append("short")


def finish(app, error):
    """Let the address of the folder lead to the README, and links to the page to draw on show a picture."""
    if not error:
        shutil.copy(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))
        page = Path(app.outdir, "draw_a_digit.html")
        preview = f'<meta property="og:image" content="{html_baseurl}predictions.png">\n'
        text = page.read_text(encoding="utf-8").replace("<title>", f"{preview}<title>", 1)
        page.write_text(text, encoding="utf-8")


def setup(app):
    """Connect the functions above to Sphinx."""
    app.connect("source-read", prepare)
    app.connect("doctree-read", mark_code)
    app.connect("build-finished", finish)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
