"""Compare executed notebooks: to the letter, or measured numbers within stated tolerances.

    python -m tools.verify          execute on the full MNIST what changed since its outputs were made,
                                    and one notebook drawn by the day; compare with the committed outputs
    python -m tools.verify --all    execute every notebook
    python -m tools.verify 04 05    execute these

A notebook has changed if the hash of its code or of ``constraints.txt`` is not the one that `make refresh`
left in its metadata. What is measured may differ between machines; how far, say `RECORD` and `close`.
"""

import argparse
import concurrent.futures
import datetime
import itertools
import json
import os
import random
import re
import shutil
from fnmatch import fnmatch

import nbformat

from helpers.data import load_mnist
from helpers.record import MIME, record_in
from tools import refresh

# Values of a record: (pattern of the name, how far two runs may be apart, why). The first that fits counts;
# any other number with a point is compared by `close`, everything else must be the same.
# "Seeds" are standard deviations over seeds in figures/study_*.csv.
RECORD = [
    ("*mean_pixel", 1e-9, "nothing is trained"),
    ("pixel_standard_deviation", 1e-9, "nothing is trained"),
    ("share_of_parameters*", 1e-9, "nothing is trained"),
    ("study_*", 1e-9, "read from a committed table"),
    ("*scrambled", 0.02, "a difference of networks that see 1,280 images"),
    ("*with_a_tenth", 0.01, "networks that see 1,280 images"),
    ("*shifted*", 0.08, "far from what was trained on, networks differ most"),
    ("*turned*", 0.08, "far from what was trained on, networks differ most"),
    ("*fgsm*", 0.15, "far from what was trained on, networks differ most"),
    ("inflation*", 0.001, "a difference of accuracies, each ± 0.0005"),
    ("other_hands*", 0.06, "far from what was trained on, networks differ most"),
    ("second_half*", 0.04, "897 digits of other hands"),
    ("damaged*", 0.06, "far from what was trained on, networks differ most"),
    ("area_on_letters", 0.05, "far from what was trained on, networks differ most"),
    ("letters_refused", 0.3, "the threshold is set by 30 of 3,000 images"),
    ("read_from_*_photos", 0.12, "50 digits of other hands, 6 of them"),
    ("drawings_read_without*", 0.15, "far from what was trained on, networks differ most"),
    ("drawings_read_with*", 0.02, "1,000 drawings; neither network has seen any"),
    ("unscaled_validation_loss", 0.4, "training without scaling is unstable: that is its point"),
    ("unscaled_validation_accuracy", 0.015, "the same; three seeds ranged over 0.02"),
    ("scaled_validation_accuracy", 0.008, "5,000 images, three epochs; three seeds ranged over 0.002"),
    ("*_recall", 0.012, "one class of 1,000 images: 12 of them"),
    ("*_precision", 0.012, "one class of 1,000 images: 12 of them"),
    ("*interval*", 0.004, "both ends move with the accuracy"),
    ("*accuracy", 0.003, "± 0.0015 around the mean of machines; seeds 0.0008 on test, 0.0014 on validation"),
    ("*error_rate", 0.003, "as the accuracy"),
    ("*minus*", 0.004, "a difference of mean accuracies over four seeds"),
]
OTHER_MACHINE = ("*_p_value", "most_confused*", "best_learning*")

# In texts, what the machine or chance decides and no tolerance fits; replaced on both sides.
NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:e[-+]?\d+)?"
NOT_COMPARED = [
    (r"[A-Za-z0-9+/]{1000,}=*", "<weights>"),
    (r"(label&quot;: )\d+", r"\1<label>"),
    (r"\b\d+\.\d+\.\d+\S*", "<version>"),
    (r"\b(float32|mixed_bfloat16)\b", "<precision>"),
    (rf"{NUMBER} (CPU seconds|seconds|minutes|ms)\b", r"<time> \1"),
    (rf"{NUMBER} times the (\w+)'s CPU time", r"<ratio> times the \1's CPU time"),
    (r"█+", "<bar>"),
]
RIGHT = re.compile(r"([\d,]+) of ([\d,]+) ((?:test |validation |training )?(?:images|digits|right))")
# Tags of cells: the text depends on the machine (which image, which class, which is better), or on a clock.
VARIES, TIMED = "varies", "timed"


def value(number):
    return float(number.replace(",", ""))


def close(a, b, percent=False):
    """Return whether two measured numbers may come from the same code on two machines.

    A share p (also in percent) may differ by 0.003 + p (1 − p) / 2: the reference network's accuracies by
    less than 0.01, those far from what a network was trained on by more. Any other number by a quarter.
    """
    if percent:
        a, b = a / 100, b / 100
    if 0 <= abs(a) <= 1 and 0 <= abs(b) <= 1:
        return abs(a - b) <= 0.003 + min(abs(p) * (1 - abs(p)) for p in (a, b)) / 2
    return abs(a - b) <= max(abs(a), abs(b)) / 4


def text_difference(before, after):
    """Return None if two texts say the same, else their first lines that do not."""
    for one, other in itertools.zip_longest(before.splitlines(), after.splitlines()):
        if one is None or other is None or not _same_line(one, other):
            return f"{one!r} became {other!r}"
    return None


def _same_line(*lines):
    texts, numbers = [], []
    for line in lines:
        for pattern, replacement in NOT_COMPARED:
            line = re.sub(pattern, replacement, line)
        line = RIGHT.sub(
            lambda found: f"{value(found[1]) / value(found[2]):.4f} of {found[2]} {found[3]}", line
        )
        numbers.append(
            [(found[0], line[found.end() :].startswith("%")) for found in re.finditer(NUMBER, line)]
        )
        texts.append(re.sub(r"[ +-]+", " ", re.sub(NUMBER, "#", line)).strip())  # columns move with widths
    if texts[0] != texts[1] or len(numbers[0]) != len(numbers[1]):
        return False
    for (a, percent), (b, _) in zip(*numbers, strict=True):
        measured = re.search(r"[.e]", a) or re.search(r"[.e]", b)
        percent = percent or "%" in lines[0] or "points" in lines[0]
        if a != b and not (measured and close(value(a), value(b), percent)):
            return False
    return True


def record_differences(before, after):
    """Yield a sentence for every value of two records that is further apart than `RECORD` allows."""
    if list(before) != list(after):
        yield f"the record's names {list(before)} became {list(after)}"
        return
    for name, a in before.items():
        b = after[name]
        if a == b or any(fnmatch(name, pattern) for pattern in OTHER_MACHINE):
            continue
        if type(a) is not float or type(b) is not float:
            yield f"{name} was {a!r} and is {b!r}"
            continue
        for pattern, allowed, why in RECORD:
            if fnmatch(name, pattern):
                if not abs(a - b) <= allowed:
                    yield f"{name} was {a} and is {b}, more than {allowed} apart ({why})"
                break
        else:
            if not close(a, b):
                yield f"{name} was {a} and is {b}"


def shown(cell, exact):
    """Return what a code cell shows, as a list of (kind, content); stderr (progress, logs) never counts."""
    contents = []
    for output in refresh.joined(cell.get("outputs", [])):
        if output.output_type == "stream":
            contents.append(("text", output.text))
        elif output.output_type == "error":
            contents.append(("error", f"{output.ename}: {output.evalue}"))
        else:
            for kind, content in output.data.items():
                if kind == "application/vnd.jupyter.widget-view+json":
                    continue  # a widget's number in its kernel
                if exact or not (kind.startswith("image/") or MIME in output.data):
                    contents.append((kind, content))
                elif kind != MIME:
                    contents.append((kind, ""))  # figures show numbers; the record is compared by name
            if exact or "image/png" in output.data:
                about = {kind: dict(more) for kind, more in output.metadata.items()}
                contents.append(("metadata", json.dumps(about, sort_keys=True)))
    return contents


def differences(before, after, exact=False):
    """Compare two executions of a notebook.

    Args:
        before, after: notebooks with the same cells.
        exact: to the letter, figures byte for byte; otherwise measured numbers within tolerances,
            and of figures only that they are there, with their alt text.

    Returns:
        A list of sentences, empty if the outputs agree.
    """
    found = []
    if [cell.source for cell in before.cells[1:]] != [cell.source for cell in after.cells[1:]]:
        return ["the cells are not the same"]
    for number, (one, other) in enumerate(zip(before.cells, after.cells, strict=True)):
        if one.cell_type != "code":
            continue
        a, b = shown(one, exact), shown(other, exact)
        if [kind for kind, _ in a] != [kind for kind, _ in b]:
            found.append(
                f"cell {number} showed {[kind for kind, _ in a]} and shows {[kind for kind, _ in b]}"
            )
            continue
        tags = one.metadata.get("tags", [])
        if TIMED in tags or VARIES in tags and not exact:
            continue
        for (kind, content), (_, again) in zip(a, b, strict=True):
            if exact:
                same = content == again
                difference = None if same else f"{kind} {str(content)[:300]!r} became {str(again)[:300]!r}"
            else:
                difference = text_difference(str(content), str(again))
            if difference:
                found.append(f"cell {number}: {difference}")
    if not exact:
        found += record_differences(record_in(before), record_in(after))
    return found


def choose(paths, everything=False, names=(), today=None):
    """Return the notebooks to execute: path → why."""
    if names:
        return dict.fromkeys(refresh.named(names), "named")
    if everything:
        return dict.fromkeys(paths, "all are executed")
    chosen = {}
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        made_with = refresh.made_with(notebook)
        stored = notebook.metadata.get("tutorial", {})
        stale = [name for name, sha256 in made_with.items() if stored.get(name) != sha256]
        if stale:
            chosen[path] = "other " + " and ".join(name.removesuffix("_sha256") for name in stale)
    rest = [path for path in paths if path not in chosen]
    if rest:
        today = today or datetime.date.today().isoformat()
        chosen[random.Random(today).choice(rest)] = f"drawn for {today}"
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="the first letters of notebooks' names")
    parser.add_argument("--all", action="store_true", help="execute every notebook")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    options = parser.parse_args()
    load_mnist("mnist")  # fail now, not later
    runs = refresh.ROOT / "runs" / "verify"
    shutil.rmtree(runs, ignore_errors=True)
    os.environ["MNIST_RUNS"] = str(runs)  # train anew
    chosen = choose(refresh.notebook_paths(), options.all, options.names)
    print(f"{len(chosen)} to execute: {', '.join(f'{path.stem} ({why})' for path, why in chosen.items())}")
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(refresh.execute, path): path for path in chosen}
        for future in concurrent.futures.as_completed(running):
            path = running[future]
            found = differences(nbformat.read(path, as_version=4), future.result())
            print(f"{path.stem} ({chosen[path]}): {'differs' if found else 'agrees'}", flush=True)
            for difference in found:
                print(f"  {difference}", flush=True)
            wrong += bool(found)
    raise SystemExit(f"{wrong} of {len(chosen)} notebooks differ." if wrong else 0)


if __name__ == "__main__":
    main()
