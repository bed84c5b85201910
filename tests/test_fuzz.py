"""Thousands of bad inputs: parameters and data are accepted and right, or refused in one clear sentence.

Hypothesis makes them, the same ones on every run. Each test counts its bad inputs; together the
tests demand more than 1,000.
"""

import contextlib
import gzip
import io
import os
import re
import shutil
import struct
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers.batch.plans import parse_value
from helpers.data import ARRAYS, IDX_FILES, Dataset, load_mnist
from helpers.errors import DataError, ParameterError
from helpers.parameters import PARAMETERS, check_parameters, check_value
from tests.conftest import as_idx, make_arrays

resource = pytest.importorskip("resource")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as arrays_of  # noqa: E402

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))  # more examples, and new ones, if it is not 1


def fuzz(examples):
    """Settings for a test of so many examples."""
    return settings(
        max_examples=examples * FACTOR,
        derandomize=FACTOR == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def assert_sentence(error):
    message = str(error)
    assert re.fullmatch(r"\S.*\S\.", message), repr(message)
    assert message.isprintable() and "Traceback" not in message, repr(message)
    assert len(message) < 1000, "longer than anybody reads"


# Parameters

TEXT = st.text(st.characters(exclude_categories=()), max_size=30)  # lone surrogates and all
NUMBERS = st.one_of(
    st.integers(),
    st.integers(-5, 5),
    st.integers(0, 2**33),
    st.sampled_from([5000, 4300, 400, 64]).map(lambda power: 10**power),
    st.floats(),
    st.floats(-0.1, 1.1),
)
ACCEPTED_TEXTS = sorted({choice for parameter in PARAMETERS.values() for choice in parameter.choices})
PLAIN = st.one_of(
    NUMBERS,
    TEXT,
    st.sampled_from(
        [*ACCEPTED_TEXTS, "", " ", "\n", "None", "nan", "-inf", "1e-3", "0x10", "1_0", "9" * 5000]
    ),
    NUMBERS.map(lambda number: str(number) if type(number) is float or abs(number) < 2**70 else "1" * 99),
    st.sampled_from(ACCEPTED_TEXTS).flatmap(lambda text: st.permutations(text).map("".join)),
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.binary(max_size=20),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
    st.dates(),
    st.just(object),
    st.just(len),
    arrays_of.scalar_dtypes().flatmap(arrays_of.from_dtype),
    arrays_of.arrays(arrays_of.scalar_dtypes(), arrays_of.array_shapes(max_side=30)),
    st.sampled_from([type("Int", (int,), {})(7), type("Text", (str,), {})("auto")]),
)
ANYTHING = PLAIN | st.recursive(
    PLAIN | ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXT | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


def is_valid(name, value):
    """Say it again, without the code that is tested: whether a parameter accepts a value."""
    wanted = PARAMETERS[name]
    if wanted.type is str:
        if type(value) is not str or not value.strip():
            return False
        return not wanted.choices or value in wanted.choices
    if type(value) is bool or type(value) not in ((int,) if wanted.type is int else (int, float)):
        return False
    return wanted.low <= value <= wanted.high


def test_values():
    bad = []

    @fuzz(700)
    @given(st.sampled_from(sorted(PARAMETERS)), ANYTHING)
    @example("network", np.zeros((50, 50)))
    def check(name, value):
        valid = is_valid(name, value)
        bad.append(not valid)
        try:
            check_value(name, value)
            check_parameters(**{name: value})
            assert valid
        except ParameterError as error:
            assert not valid
            assert_sentence(error)

    check()
    check.hypothesis.inner_test("seed", 10**5000)  # no @example: Hypothesis would have to print it
    assert sum(bad) >= 500, f"{sum(bad)} of {len(bad)}"


def test_values_from_command_lines_and_files():
    bad = []

    @fuzz(400)
    @given(st.sampled_from(sorted(PARAMETERS)), PLAIN | ANYTHING)
    @example("seed", "9" * 5000)
    @example("dropout", "1e-1")
    def check(name, value):
        try:
            parsed = parse_value(name, value)
            assert is_valid(name, parsed) and type(parsed) is PARAMETERS[name].type
            assert parsed == value or parsed == PARAMETERS[name].type(value)
        except ParameterError as error:
            bad.append(value)
            assert_sentence(error)

    check()
    assert len(bad) >= 250, len(bad)


def test_names():
    bad = []
    misspelt = st.sampled_from(sorted(PARAMETERS)).flatmap(lambda name: st.permutations(name).map("".join))

    @fuzz(150)
    @given(TEXT.filter(str.isprintable) | misspelt)
    def check(name):
        for refuse in (lambda: check_value(name, 1), lambda: check_parameters(**{name: 1})):
            if name not in PARAMETERS:
                bad.append(name)
                with pytest.raises(ParameterError) as caught:
                    refuse()
                assert_sentence(caught.value)

    check()
    assert len(bad) >= 200, len(bad)


# Data


def assert_loads_or_refuses(path):
    """Return whether the data was refused; if it is accepted, everything about it is right."""
    try:
        data = load_mnist(path)
    except DataError as error:
        assert_sentence(error)
        return True
    assert isinstance(data, Dataset) and 2 <= data.classes <= 256
    for part in ("train", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        assert x.dtype == y.dtype == np.uint8 and x.shape == (len(y), 28, 28)
        assert set(y.tolist()) == set(range(data.classes))
    assert len(set(data.class_names)) == data.classes
    for name in (data.name, *data.class_names):
        assert type(name) is str and name.strip() and name.isprintable(), repr(name)
    assert not any(re.match("b['\"]", name) for name in data.class_names), "bytes are no names"
    assert re.fullmatch("[0-9a-f]{64}", data.fingerprint)
    return False


SMALL = make_arrays(train=6, test=3, classes=3)


def as_npz(arrays, save=np.savez):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def as_csv(x, y):
    return "".join(f"{label},{','.join(map(str, image.ravel()))}\n" for image, label in zip(x, y)).encode()


def as_png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


MORE = make_arrays(train=15, classes=3)
VALID = {
    "npz": as_npz(SMALL | {"class_names": ["ant", "bear", "zebra"]}),
    "compressed npz": as_npz(SMALL, np.savez_compressed),
    "idx": as_idx(SMALL["x_train"]),
    "idx labels": as_idx(SMALL["y_train"]),
    "gzip": gzip.compress(as_idx(SMALL["x_train"]), mtime=0),
    "class names": b"ant\nbear\nzebra\n",
    "csv": as_csv(MORE["x_train"], MORE["y_train"]),
    "png": as_png(MORE["x_train"][0]),
}
TARGETS = {  # where the bytes go, in a folder that is whole otherwise
    "npz": "own.npz",
    "compressed npz": "own.npz",
    "idx": IDX_FILES["x_train"],
    "idx labels": IDX_FILES["y_train"],
    "gzip": IDX_FILES["x_train"] + ".gz",
    "class names": "class_names.txt",
    "csv": "own.csv",
    "png": "0/0.png",
}


def load_bytes(folder, kind, content):
    """Load content as a file of a kind; return whether it was refused."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kind == "png":
        for number, (image, label) in enumerate(zip(MORE["x_train"], MORE["y_train"])):
            (folder / str(label)).mkdir(exist_ok=True)
            (folder / str(label) / f"a{number}.png").write_bytes(as_png(image))
    elif kind != "csv" and "npz" not in kind:
        for key, stem in IDX_FILES.items():
            if not TARGETS[kind].startswith(stem):
                (folder / stem).write_bytes(as_idx(SMALL[key]))
    (folder / TARGETS[kind]).write_bytes(content)
    return assert_loads_or_refuses(folder / TARGETS[kind] if "npz" in kind or kind == "csv" else folder)


@st.composite
def damaged(draw, kind):
    """Return a valid file with some bytes changed, left out, put in or doubled, header and end above all."""
    content = bytearray(VALID[kind])
    for _ in range(draw(st.integers(1, 4))):
        length = len(content)
        place = draw(st.integers(0, min(200, length)) | st.integers(max(0, length - 700), length))
        place = draw(st.just(place) | st.integers(0, length))
        what = draw(st.sampled_from(["change", "leave out", "put in", "double", "cut"]))
        if what == "change":
            new = draw(
                st.binary(min_size=1, max_size=4) | st.sampled_from([b"\0", b"\xff" * 4, b"\x80\0\0\0"])
            )
            content[place : place + len(new)] = new
        elif what == "put in":
            content[place:place] = draw(st.binary(max_size=8))
        elif what == "leave out":
            del content[place : place + draw(st.integers(1, 2000))]
        elif what == "double":
            content[place:place] = content[place : place + draw(st.integers(1, 2000))]
        else:
            del content[place:]
    return bytes(content)


@pytest.mark.parametrize("kind", VALID)
def test_damaged_files(tmp_path, kind):
    assert not load_bytes(tmp_path, kind, VALID[kind])
    bad = []

    @fuzz(60)
    @given(damaged(kind) | st.binary(max_size=100))
    def check(content):
        bad.append(load_bytes(tmp_path, kind, content))

    check()
    assert sum(bad) >= 10, f"{sum(bad)} of {len(bad)}"


NAMES_OF_CLASSES = arrays_of.arrays(
    st.sampled_from(["U5", "S5", "i8", "f4", "?", "M8[s]", "c8"]) | arrays_of.scalar_dtypes(),
    st.sampled_from([(3,), (), (0,), (4,), (3, 1), (1, 3), (2, 2), (300,)]),
)


def test_arrays_of_another_form(tmp_path):
    bad = []
    shapes = st.sampled_from([(6,), (3,), (6, 28, 28), (3, 28, 28), (6, 784), (0, 28, 28), (0,), ()])
    anyhow = arrays_of.arrays(
        arrays_of.scalar_dtypes() | arrays_of.array_dtypes(max_size=2) | st.sampled_from(["u1", "i8"]),
        shapes | arrays_of.array_shapes(max_dims=4, max_side=5),
    )
    few = arrays_of.arrays(st.sampled_from(["i1", "u1", "i8", "u8"]), (6,), elements=st.integers(0, 3))

    @fuzz(120)
    @given(
        st.dictionaries(st.sampled_from(ARRAYS), few | anyhow, max_size=2),
        st.none() | NAMES_OF_CLASSES,
        st.none() | st.sampled_from(ARRAYS),
    )
    def check(replaced, names, without):
        arrays = SMALL | replaced | ({} if names is None else {"class_names": names})
        arrays.pop(without, None)
        (tmp_path / "own.npz").write_bytes(as_npz(arrays))
        bad.append(assert_loads_or_refuses(tmp_path / "own.npz"))

    check()
    assert sum(bad) >= 80, f"{sum(bad)} of {len(bad)}"


def test_headers_and_members_that_lie(tmp_path):
    """Of arrays in an .npz file: any text where NumPy expects a description, and odd names of members."""
    bad = []
    number = st.integers(-1, 4) | st.sampled_from([28, 2**31, 2**40, 2**63, 2**64, 10**30])
    header = st.builds(
        "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}".format,
        st.sampled_from(["'|u1'", "'<i8'", "'|O'", "'<U1000000000'", "'|V0'", "[('a', '<f8')]", "'?x'", "7"]),
        st.sampled_from(["False", "True", "None", "__import__('os')"]),
        st.lists(number, max_size=4).map(lambda shape: repr(tuple(shape)))
        | st.sampled_from(["9**9**9", "None"]),
    )
    text = header | st.sampled_from(["", "{}", "(" * 300, "{" * 5000, "[0]*10**10", "\0", "'" * 70000])

    @fuzz(120)
    @given(
        st.sampled_from(ARRAYS + ("class_names",)),
        text,
        st.sampled_from(
            [b"\x93NUMPY\1\0", b"\x93NUMPY\2\0", b"\x93NUMPY\3\0", b"\x93NUMPY\x09\0", b"", b"\x80\4"]
        ),
        st.binary(max_size=20),
        st.sampled_from(
            ["{}.npy", "{}", "../{}.npy", "/{}.npy", "{}.npy\0x", "{}.npy/", "\udcff{}.npy", "a/{}.npy"]
        ),
        st.booleans(),
    )
    def check(key, text, magic, content, member, twice):
        with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
            for other, array in SMALL.items():
                if other != key or twice:
                    buffer = io.BytesIO()
                    np.save(buffer, array)
                    file.writestr(f"{other}.npy", buffer.getvalue())
            length = struct.pack("<H" if magic[6:7] == b"\1" else "<I", min(len(text), 65535))
            with warnings.catch_warnings(), contextlib.suppress(UnicodeEncodeError):
                warnings.simplefilter("ignore")  # a name that is there twice
                file.writestr(member.format(key), magic + length + text.encode("latin1", "replace") + content)
        bad.append(assert_loads_or_refuses(tmp_path / "own.npz"))

    check()
    assert sum(bad) >= 50, f"{sum(bad)} of {len(bad)}"


def test_a_file_that_unzips_to_more_than_it_promises_is_read_no_further(tmp_path):
    """4 GB of zeros in 4 MB, as a gzipped IDX file of six images."""
    zeros = gzip.compress(bytes(2**24), 9, mtime=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content = gzip.compress(as_idx(SMALL["x_train"]), mtime=0) + 256 * zeros
    assert load_bytes(tmp_path, "gzip", content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = []
    piece = TEXT | st.sampled_from(
        ["..", "~", "~x", "\0", "a\nb", "\udcff", "x" * 300, "/dev/null", "own.npz"]
    )

    @fuzz(150)
    @given(st.lists(piece, min_size=1, max_size=3).map("/".join) | ODD)
    def check(path):
        bad.append(assert_loads_or_refuses(path))

    check()
    assert sum(bad) >= 100, f"{sum(bad)} of {len(bad)}"
