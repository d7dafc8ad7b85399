"""The confinement of a worker: code that runs in one reaches nothing, and images come out alike."""

import itertools
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.codec import sandbox
from app.codec.pool import CodecPool
from app.codec.process import CodecProcess, Start
from app.codec.sandbox import Part
from app.codec.tasks import Develop, Still
from app.errors import ConfigurationError, DecoderCrashedError, GatewayError
from app.imaging.develop import develop
from app.imaging.formats import ImageFormat
from app.imaging.limits import ImageLimits
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile, Recipe
from app.imaging.variants import still
from tests.support import codec_jobs, images
from tests.support.codec_jobs import do
from tests.support.developing import with_digests
from tests.support.every_case import every_case

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux confines the workers")

LIMITS = ImageLimits()


def make_pool(*, required=True, **options):
    options = {"memory_bytes": 2_000_000_000, "jobs": codec_jobs.__name__} | options
    return CodecPool(workers=1, deadline_seconds=60, start=Start(**options), required=required)


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    path = tmp_path_factory.mktemp("secret") / "file"
    path.write_text("secret")
    path.chmod(0o666)
    return path


# Each is code as a decoder that was taken over runs it; {parent} is the gateway.
LIBC = "libc = ctypes.CDLL(None, use_errno=True); "
CALL = LIBC + "result = {}; error = ctypes.get_errno(); assert result < 0; raise OSError(error, '')"
REFUSED = {
    "read a file": "open('{secret}').read()",
    "read a file's size": "os.stat('{secret}')",
    "list a folder": "os.listdir('/')",
    "write a file": "open('{secret}', 'w').write('x')",
    "make a folder": "os.mkdir('{secret}.new')",
    "remove a file": "os.unlink('{secret}')",
    "read the gateway's environment": "open('/proc/{parent}/environ', 'rb').read()",
    "read the gateway's memory": "open('/proc/{parent}/mem', 'rb')",
    "list the gateway's descriptors": "os.listdir('/proc/{parent}/fd')",
    "read its own memory map": "open('/proc/self/maps').read()",
    "trace the gateway": CALL.format("libc.ptrace(16, {parent}, 0, 0)"),
    "read the gateway's memory at once": CALL.format("libc.syscall(310, {parent}, 0, 0, 0, 0, 0)"),
    "signal the gateway": "os.kill({parent}, 0)",
    "end the gateway": "os.kill({parent}, 9)",
    "signal through its socket": "fcntl.fcntl(3, fcntl.F_SETOWN, {parent})",
    "hold the gateway by a descriptor": "os.pidfd_open({parent})",
    "open an internet socket": "socket.socket(2, 1)",
    "open a Unix socket": "socket.socket(1, 1)",
    "open a pair of sockets": "socket.socketpair()",
    "connect": CALL.format("libc.connect(3, bytes(16), 16)"),
    "bind": CALL.format("libc.bind(3, bytes(16), 16)"),
    "pass a descriptor": CALL.format("libc.sendmsg(3, bytes(56), 0)"),
    "fork": "os.fork()",
    "start another program": "os.execv('/bin/true', ['true'])",
    "start a process with flags of its own": CALL.format("libc.syscall(56, 0x11, 0, 0, 0, 0)"),
    "be dumpable again": CALL.format("libc.prctl(4, 1, 0, 0, 0)"),
    "enter a namespace": CALL.format("libc.unshare(0x10000000)"),
    "become another user": "os.setuid(1)",
    "make a file in memory": "os.memfd_create('x')",
    "set up io_uring": CALL.format("libc.syscall(425, 1, bytes(120))"),
    "load a program into the kernel": CALL.format("libc.syscall(321, 5, bytes(120), 120)"),
    "raise its limits": CALL.format("libc.syscall(302, 0, 7, bytes(16), 0)"),
    "call as x32": CALL.format("libc.syscall(0x40000000 + 39)"),
}
ERRORS = {os.strerror(number) for number in (1, 13, 38)}  # EPERM, EACCES, ENOSYS


class TestConfined:
    async def test_every_part_is_in_force_here(self):
        async with make_pool() as pool:
            assert pool.in_force == tuple(Part)

    async def test_code_in_a_worker_reaches_nothing_and_the_gateway_goes_on(self, secret):
        async with make_pool() as pool:
            with every_case() as case:
                for label, code in REFUSED.items():
                    with case(label):
                        assert await attempted(pool, code, secret) in ERRORS
            assert await pool.run(do(codec_jobs.length), b"four") == 4
        assert secret.read_text() == "secret"

    async def test_the_same_code_reaches_all_that_without_the_sandbox(self, secret):
        codes = [REFUSED[label] for label in ("read a file", "signal the gateway", "list a folder")]
        codes += [REFUSED[label] for label in ("open an internet socket", "write a file")]
        async with make_pool(required=False, confined=False) as pool:
            for code in codes:
                assert await attempted(pool, code, secret) == "done"
        secret.write_text("secret")

    async def test_a_call_of_another_architecture_ends_the_worker(self):
        # `int 0x80` is a call by the 32-bit table, whose numbers mean something else.
        code = (
            "page = mmap.mmap(-1, 4096, prot=7); page.write(bytes.fromhex('cd80c3'));"
            "ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()"
        )
        async with make_pool() as pool:
            with pytest.raises(DecoderCrashedError):
                await pool.run(do(codec_jobs.attempt, code=code), b"")
            assert await pool.run(do(codec_jobs.length), b"four") == 4

    async def test_threads_start(self):
        code = "each = threading.Thread(); each.start(); each.join()"
        async with make_pool() as pool:
            assert await pool.run(do(codec_jobs.attempt, code=code), b"") == "done"

    @pytest.mark.skipif(os.getuid() != 0, reason="only root sees those of a hidden process")
    async def test_a_worker_has_no_descriptor_but_its_socket(self):
        with inherited() as left_open:
            assert os.get_inheritable(left_open)
            async with make_pool() as pool:
                pid = await pool.run(do(codec_jobs.process_id), b"")
                links = descriptors(pid)
        kinds = sorted(link.partition(":")[0] for link in links)
        assert kinds == ["/dev/null", "/dev/null", "pipe", "socket"]

    def test_a_hidden_process_is_closed_to_others_of_its_user(self):
        script = [sys.executable, "-c", HIDDEN]
        answer = subprocess.run(script, capture_output=True, text=True, check=True)
        assert answer.stdout.split() == ["read", "refused"]

    async def test_a_worker_has_a_session_of_its_own(self):
        async with make_pool() as pool:
            pid = await pool.run(do(codec_jobs.process_id), b"")
            assert os.getsid(pid) == pid


async def attempted(pool, code, secret):
    code = code.format(parent=os.getpid(), secret=secret)
    return await pool.run(do(codec_jobs.attempt, code=code), b"")


def descriptors(pid):
    """Where the descriptors of a process lead."""
    return [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]


LOADED = """
import sys
import app.codec.jobs, app.codec.worker
print(*sys.modules)
"""
# Root may look into every process; and who becomes another user is hidden already.
HIDDEN = """
import ctypes, os
from app.codec.sandbox import hide
os.getuid() or os.setresuid(1, 1, 1)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
for step in (lambda: None, hide):
    step()
    if not os.fork():
        try:
            open(f"/proc/{os.getppid()}/environ").read()
            print("read", flush=True)
        except PermissionError:
            print("refused", flush=True)
        os._exit(0)
    os.wait()
"""


@contextmanager
def inherited():
    """A descriptor that whoever started this process left open."""
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    yield descriptor
    os.close(descriptor)


UPLOADS = {
    ImageFormat.JPEG: images.jpeg,
    ImageFormat.PNG: images.png,
    ImageFormat.WEBP: images.webp,
    ImageFormat.GIF: images.gif,
    ImageFormat.AVIF: images.avif,
    ImageFormat.HEIC: images.heic,
    ImageFormat.TIFF: images.tiff,
    ImageFormat.BMP: images.bmp,
}


class TestImages:
    async def test_every_format_profile_and_option_comes_out_as_it_does_unconfined(self):
        async with make_pool() as pool:
            with every_case() as case:
                for image_format, make in UPLOADS.items():
                    upload = make()
                    for profile, metadata, modern in itertools.product(
                        Profile, MetadataOption, (False, True)
                    ):
                        recipe = Recipe(profile, metadata, webp=modern, avif=modern)
                        task = Develop(image_format, LIMITS, recipe)
                        with case(f"{image_format.name} {recipe}"):
                            confined = await outcome(pool.run(task, upload))
                            assert confined == unconfined(upload, image_format, recipe)

    async def test_a_new_worker_handles_each_kind_as_its_first(self):
        small = Recipe(Profile.SMALL, webp=True, avif=True)
        firsts = [
            (images.jpeg(images.photo((96, 64), "CMYK")), ImageFormat.JPEG, Recipe()),
            (images.png(images.photo((96, 64), "RGBA")), ImageFormat.PNG, small),
            (images.animated("PNG"), ImageFormat.PNG, Recipe()),
            *((make(), image_format, small) for image_format, make in UPLOADS.items()),
        ]
        for upload, image_format, recipe in firsts:
            async with make_pool() as pool:
                confined = await outcome(pool.run(Develop(image_format, LIMITS, recipe), upload))
            assert confined == unconfined(upload, image_format, recipe)

    async def test_a_still_comes_out_as_it_does_unconfined(self):
        async with make_pool() as pool:
            for make in UPLOADS.values():
                assert await pool.run(Still(LIMITS, 64), make()) == still(make(), LIMITS, 64)

    async def test_quality_is_measured(self):
        pytest.importorskip("ssimulacra2")
        recipe, upload = Recipe(measure=True), images.jpeg(images.photo((320, 240)))
        async with make_pool(measure_quality=True) as pool:
            developed = await pool.run(Develop(ImageFormat.JPEG, LIMITS, recipe), upload)
        assert developed == unconfined(upload, ImageFormat.JPEG, recipe)
        assert developed.info.quality is not None

    async def test_nothing_is_imported_once_a_worker_is_confined(self):
        async with make_pool() as pool:
            before = await pool.run(do(codec_jobs.modules), b"")
            for image_format, make in UPLOADS.items():
                for profile in Profile:
                    recipe = Recipe(profile, webp=True, avif=True)
                    await outcome(pool.run(Develop(image_format, LIMITS, recipe), make()))
            assert await pool.run(do(codec_jobs.modules), b"") == before

    def test_a_worker_loads_neither_pydantic_nor_pickle(self):
        loaded = subprocess.run(
            [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
        )
        assert not {"pydantic", "pickle", "_pickle", "asyncio"} & set(loaded.stdout.split())


async def outcome(work):
    try:
        return await work
    except GatewayError as error:
        return type(error), error.detail


def unconfined(upload, image_format, recipe):
    try:
        return with_digests(develop(upload, image_format, LIMITS, recipe), upload)
    except GatewayError as error:
        return type(error), error.detail


class TestLacking:
    """A kernel that can do less, as a worker reports it."""

    @pytest.fixture
    def old_kernel(self, monkeypatch):
        ready = CodecProcess.ready

        async def less(worker):
            return tuple(part for part in await ready(worker) if part is not Part.LANDLOCK)

        monkeypatch.setattr(CodecProcess, "ready", less)

    async def test_what_is_in_force_and_what_is_lacking_is_logged_once(self, old_kernel, capsys):
        async with make_pool(required=False):
            pass
        [line] = [line for line in capsys.readouterr().out.splitlines() if "codec_sandbox" in line]
        assert '"lacking": ["landlock"]' in line
        assert '"level": "warning"' in line

    async def test_required_refuses_to_start_without_a_part(self, old_kernel):
        with pytest.raises(ConfigurationError, match=r"IMAGEGATE_IMAGING__SANDBOX.*landlock"):
            await make_pool().start()

    async def test_off_is_logged_as_lacking_everything(self, capsys):
        async with make_pool(required=False, confined=False) as pool:
            assert pool.in_force == ()
        assert '"level": "warning"' in capsys.readouterr().out

    def test_another_kernel_than_linux_confines_nothing(self, monkeypatch):
        monkeypatch.setattr(sandbox.sys, "platform", "darwin")
        monkeypatch.setattr(sandbox.resource, "setrlimit", lambda *_: None)
        assert sandbox.confine() == ()
        assert not sandbox.hide()

    def test_another_architecture_has_no_filter(self, monkeypatch):
        monkeypatch.setattr(sandbox.platform, "machine", lambda: "riscv64")
        assert not sandbox._filter_system_calls()
