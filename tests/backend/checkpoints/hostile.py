"""Hostile checkpoints, generated systematically: each attack, in each encoding, in each container.

Every file that tries to run something would make the canary file. `small_file` writes containers without torch, so that
headers can lie.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

LEGACY = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00X\r\x00\x00\x00little_endianq\x01\x88s."
)

# What files have been seen to call, or could: (module, name, is the argument a shell command rather than Python).
CALLS: tuple[tuple[str, str, bool], ...] = tuple(
    (*call.rsplit(".", 1), kind == "shell")
    for kind, calls in {
        "shell": """os.system posix.system nt.system os.popen platform.popen subprocess.Popen subprocess.call
            subprocess.run subprocess.check_output subprocess.getoutput commands.getoutput pty.spawn os.execv os.execlp
            os.posix_spawn os.spawnlp os.startfile asyncio.create_subprocess_shell multiprocessing.util.spawnv_passfds
            webbrowser.open distutils.spawn.spawn""",
        "python": """builtins.eval builtins.exec builtins.compile builtins.__import__ builtins.getattr builtins.setattr
            builtins.open builtins.print builtins.globals builtins.breakpoint builtins.map builtins.filter
            builtins.type builtins.input __builtin__.eval __builtin__.execfile __builtin__.file _io.open io.open
            codecs.open importlib.import_module runpy.run_path runpy.run_module code.interact timeit.timeit
            timeit.main cProfile.run profile.run pdb.run bdb.Bdb trace.Trace doctest.debug_script marshal.loads
            pickle.loads _pickle.loads dill.loads cloudpickle.loads joblib.load shelve.open torch.load
            torch.hub.load torch.jit.load torch.serialization.load torch.utils.cpp_extension.load_inline
            torch.package.PackageImporter torch.storage._load_from_file torch._dynamo.guards.GuardBuilder.get
            torch.nn.Module torch.save torch.ops.load_library torch.classes.load_library numpy.load
            numpy.lib.npyio.load numpy.fromfile numpy.save numpy.testing._private.utils.runstring
            numpy.f2py.compile numpy.distutils.exec_command.exec_command operator.attrgetter
            operator.methodcaller operator.call functools.partial functools.reduce types.FunctionType
            types.CodeType types.ModuleType ctypes.CDLL ctypes.cdll.LoadLibrary _ctypes.dlopen shutil.rmtree
            shutil.copy os.remove os.rename os.symlink os.putenv os.chdir os.kill os._exit sys.exit
            sys.setrecursionlimit sys.settrace atexit.register threading.Thread _thread.start_new_thread
            multiprocessing.Process socket.socket socket.create_connection urllib.request.urlopen
            urllib.request.urlretrieve http.client.HTTPConnection requests.get smtplib.SMTP ftplib.FTP
            tempfile.NamedTemporaryFile logging.config.dictConfig logging.FileHandler pathlib.Path
            pathlib.Path.write_text sqlite3.connect zipfile.ZipFile tarfile.open xml.etree.ElementTree.parse
            yaml.load yaml.unsafe_load pip.main pip._internal.main ensurepip.bootstrap venv.create
            idlelib.run.Executive pydoc.pipepager pydoc.locate site.addsitedir signal.signal gc.get_objects
            weakref.finalize contextlib.ExitStack inspect.getattr_static enum.Enum dataclasses.make_dataclass
            string.Formatter collections.namedtuple collections.UserDict copyreg.__newobj__ copyreg.pickle
            copyreg.add_extension dnnlib.util.call_func_by_name dnnlib.util.construct_class_by_name
            dnnlib.util.open_url torch_utils.persistence.import_hook torch_utils.persistence.persistent_class
            torch_utils.persistence._src_to_module torch_utils.custom_ops.get_plugin omegaconf.OmegaConf.load
            omegaconf.resolvers.oc.env hydra.utils.instantiate training.networks.Generator siren.siren.TALLSIREN
            generators.generators.ImplicitGenerator3d networks.__import__ antigravity.geohash this.s
            lib2to3.pgen2.grammar.Grammar.load""",
    }.items()
    for call in calls.split()
)


def arguments(canary: Path, shell: bool) -> bytes:
    """Return the pickled tuple of one text that would make the canary, if it were run."""
    text = f"touch {canary}" if shell else f"__import__('pathlib').Path({str(canary)!r}).touch()"
    return unicode(text) + b"\x85"


def unicode(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def call_global(module: str, name: str, args: bytes) -> bytes:
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + args + b"R."


def call_stack_global(module: str, name: str, args: bytes) -> bytes:
    return b"\x80\x04" + unicode(module) + unicode(name) + b"\x93" + args + b"R."


def call_newobj(module: str, name: str, args: bytes) -> bytes:
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + args + b"\x81."


def call_newobj_ex(module: str, name: str, args: bytes) -> bytes:
    return b"\x80\x04c" + f"{module}\n{name}\n".encode() + args + b"}\x92."


def call_inst(module: str, name: str, args: bytes) -> bytes:
    return b"(" + args[:-1] + b"i" + f"{module}\n{name}\n".encode() + b"."


def call_obj(module: str, name: str, args: bytes) -> bytes:
    return b"(c" + f"{module}\n{name}\n".encode() + args[:-1] + b"o."


def call_inside(module: str, name: str, args: bytes) -> bytes:
    """The call as a value deep in an innocent state dict, whose result is thrown away."""
    call = call_global(module, name, args)[2:-1]
    return b"\x80\x02}(" + unicode("state_dict") + b"](" + call + b"0e" + unicode("epoch") + b"K\x01u."


def call_through_reconstructor(module: str, name: str, args: bytes) -> bytes:
    inner = f"c{module}\n{name}\nc__builtin__\nobject\n".encode()
    return b"\x80\x02ccopy_reg\n_reconstructor\n" + inner + args[:-1] + b"\x87R."


WAYS = (
    call_global,
    call_stack_global,
    call_newobj,
    call_newobj_ex,
    call_inst,
    call_obj,
    call_inside,
    call_through_reconstructor,
)


# ---- containers


def plain(data: bytes) -> bytes:
    return data


def torch_zip(data: bytes, storages: dict[str, bytes] | None = None, extra: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def torch_legacy(data: bytes, storages: dict[str, bytes] | None = None, itemsize: int = 4) -> bytes:
    keys = pickle.dumps(list(storages or {}), 2)
    content = b"".join(struct.pack("<q", len(raw) // itemsize) + raw for raw in (storages or {}).values())
    return LEGACY + data + keys + content


def npy(data: bytes, header: str = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") -> bytes:
    raw = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


def load_from_bytes(data: bytes) -> bytes:
    """A plain pickle that hands `data` to torch.storage._load_from_bytes."""
    raw = b"B" + struct.pack("<I", len(data)) + data
    return b"\x80\x04ctorch.storage\n_load_from_bytes\n" + raw + b"\x85R."


CONTAINERS = (plain, torch_zip, torch_legacy, npy, load_from_bytes)


def tensor(
    numel: int,
    *,
    offset: object = 0,
    shape: object = None,
    strides: object = (1,),
    key: str = "0",
    storage: str = "torch\nFloatStorage",
    function: str = "torch._utils\n_rebuild_tensor_v2",
) -> bytes:
    """The pickle of one tensor over a storage of `numel` elements (protocol 2, with a persistent id)."""
    identifier = (
        b"(" + unicode("storage") + f"c{storage}\n".encode() + unicode(key) + unicode("cuda:0") + _value(numel) + b"tQ"
    )
    shape = (numel,) if shape is None else shape
    rest = _value(offset) + _value(shape) + _value(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"\x80\x02c" + f"{function}\n".encode() + b"(" + identifier + rest + b"tR."


def _value(value: object) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


# ---- the files


def files_that_call(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Each call in one way and one container, turning through both; and some calls in all ways and containers."""
    for index, (module, name, shell) in enumerate(CALLS):
        way = WAYS[index % len(WAYS)]
        container = CONTAINERS[(index // len(WAYS)) % len(CONTAINERS)]
        yield (
            f"{module}.{name} {way.__name__} {container.__name__}",
            container(way(module, name, arguments(canary, shell))),
        )
    for module, name, shell in (("os", "system", True), ("builtins", "eval", False)):
        for way in WAYS:
            for container in CONTAINERS:
                data = container(way(module, name, arguments(canary, shell)))
                yield f"{module}.{name} {way.__name__} {container.__name__} again", data


def files_that_trick(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Ways round an allow-list: through allowed functions, attributes, states and names."""
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    text = unicode(code)
    system = b"cos\nsystem\n"
    allowed = b"ctorch._utils\n_rebuild_parameter\n"
    yield "nested reduce", b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\n" + text + b"\x86R" + text + b"\x85R."
    yield "call the result of a call", b"\x80\x02ccollections\nOrderedDict\n)R" + text + b"\x85R."
    yield "call a text", b"\x80\x02" + unicode("eval") + text + b"\x85R."
    yield "call a dictionary", b"\x80\x02}" + text + b"\x85R."
    yield "call with arguments that are not a tuple", b"\x80\x02ccollections\nOrderedDict\n" + text + b"R."
    yield (
        "dotted name",
        b"\x80\x04" + unicode("torch") + unicode("serialization.os.system") + b"\x93" + text + b"\x85R.",
    )
    yield (
        "dotted name in an allowed module",
        (b"\x80\x04" + unicode("torch.nn.modules.module") + unicode("torch.os.system") + b"\x93" + text + b"\x85R."),
    )
    yield "record called", b"\x80\x02ctorch.nn.modules.linear\nLinear\n" + text + b"\x85R."
    yield "record made with arguments", b"\x80\x02ctorch.nn.modules.linear\nLinear\n" + text + b"\x85\x81."
    yield "functional called", b"\x80\x02ctorch.nn.functional\nhandle_torch_function\n" + text + b"\x85R."
    yield "typing called", b"\x80\x02ctyping\n_eval_type\n" + text + b"\x85R."
    yield "getitem of a module", b"\x80\x02coperator\ngetitem\n" + system + text + b"\x86R."
    yield "getitem of a dictionary", b"\x80\x02coperator\ngetitem\n}" + text + b"\x86R."
    yield "defaultdict with a factory", b"\x80\x02ccollections\ndefaultdict\n" + system + b"\x85R."
    yield (
        "rebuild_from_type with eval",
        (b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cbuiltins\neval\nctorch\nTensor\n" + text + b"\x85NtR."),
    )
    yield (
        "rebuild_from_type with itself",
        (
            b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch.storage\n_load_from_bytes\nctorch\nTensor\n"
            + text
            + b"\x85NtR."
        ),
    )
    yield "parameter of a text", b"\x80\x02" + allowed + b"(" + text + b"\x89NtR."
    yield "build on a global", b"\x80\x02ccollections\nOrderedDict\n}" + unicode("__reduce__") + text + b"sb."
    yield "build with __setstate__ on a text", b"\x80\x02" + text + b"}" + unicode("__setstate__") + system + b"sb."
    yield (
        "second state",
        (b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81}" + unicode("a") + b"K\x01sb}" + unicode("b") + b"K\x02sb."),
    )
    yield "state that is a text", b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + text + b"\x85R."
    yield "persistent function", _persistent({"type": "function", "class_name": "f", "module_src": code, "state": {}})
    yield "persistent class without a name", _persistent({"type": "class", "module_src": code, "state": {}})
    yield (
        "persistent class with a text as state",
        _persistent({"type": "class", "class_name": "C", "module_src": code, "state": code}),
    )
    yield "extension code", b"\x80\x02\x82\x01."
    yield "extension code of 4 bytes", b"\x80\x02\x84\x01\x00\x00\x00."
    yield "out-of-band buffer", b"\x80\x05\x97."
    yield "persistent id in a plain pickle", b"\x80\x02" + unicode("storage") + b"Q."
    yield "persistent id as text", b"Pos.system\n."
    yield "persistent id of an unknown kind", torch_zip(b"\x80\x02(" + unicode("module") + system + b"tQ.")
    yield "storage of a class", torch_zip(tensor(4, storage="os\nsystem"), {"0": bytes(16)})
    yield (
        "storage of an allowed class",
        torch_zip(tensor(4, storage="torch.nn.modules.linear\nLinear"), {"0": bytes(16)}),
    )
    yield "storage name with a path", torch_zip(tensor(4, key="../../../etc/passwd"), {"0": bytes(16)})
    yield "dtype with code", b"\x80\x02cnumpy\ndtype\n" + text + b"\x85R."
    yield "dtype of a void", b"\x80\x02cnumpy\ndtype\n" + unicode("V8") + b"\x85R."
    yield "array of a class", b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncos\nsystem\nK\x00\x85C\x01b\x87R."
    yield "encode with a codec", b"\x80\x02c_codecs\nencode\n" + text + unicode("rot13") + b"\x86R."
    yield "decode", b"\x80\x02c_codecs\ndecode\n" + text + unicode("unicode_escape") + b"\x86R."
    yield "npy with code in its header", npy(b"", header=code)
    yield (
        "npy with a call in its header",
        npy(b"", header="{'descr': '<f4', 'fortran_order': False, 'shape': exec('0')}"),
    )
    yield (
        "npy of structured elements",
        npy(bytes(8), header="{'descr': [('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape': (1,)}"),
    )
    yield (
        "TorchScript",
        torch_zip(
            b"\x80\x02}.", extra={"archive/code/__torch__.py": code.encode(), "archive/constants.pkl": b"\x80\x02)."}
        ),
    )
    yield "module named to look allowed", b"\x80\x02ctorch.nn.modulesx\nLinear\n)\x81."
    yield "module with a space", b"\x80\x02ctorch.nn.modules. os\nsystem\n)\x81."
    yield "module with a newline", b"\x80\x04" + unicode("torch.nn.modules.\nos") + unicode("system") + b"\x93)\x81."
    yield "name that is a number", b"\x80\x04K\x01" + unicode("system") + b"\x93)\x81."


def _persistent(meta: dict[str, object]) -> bytes:
    return b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + _value(meta) + b"\x85R."


def files_that_swell() -> Iterator[tuple[str, bytes]]:
    """Small files that would become large, deep or endless."""
    double = b"".join(b"q%c0](h%ch%ce" % (i, i, i) for i in range(200))
    yield "memo bomb", b"\x80\x02](K\x01K\x02e" + double + b"."
    tuples = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(200))
    yield "memo bomb of tuples", b"\x80\x02K\x01" + tuples + b"."
    dicts = b"".join(b"q%c0}(K\x01h%cK\x02h%cu" % (i, i, i) for i in range(200))
    yield "memo bomb of dictionaries", b"\x80\x02K\x01" + dicts + b"."
    yield "bomb by doubling", b"\x80\x02](K\x01e" + b"2\x86" * 60 + b"."
    yield "deep lists", b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
    yield "deep tuples", b"\x80\x02)" + b"\x85" * 200_000 + b"."
    yield "deep dictionaries", b"\x80\x02" + b"}K\x01" * 100_000 + b"}" + b"s" * 100_000 + b"."
    yield (
        "deep objects",
        b"\x80\x02" + b"ctorch.nn.modules.linear\nLinear\n)\x81" * 20_000 + b"N" + b"b" * 20_000 + b".",
    )
    yield "deep tuple as a key", b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s."
    yield "tuple as a key", b"\x80\x02}K\x01K\x02\x86K\x01s."
    yield "list in itself", b"\x80\x02]q\x00h\x00a."
    yield "dictionary in itself", b"\x80\x02}q\x00K\x01h\x00s."
    yield "object in itself", b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81q\x00}K\x01h\x00sb."
    yield "steps without end", b"\x80\x02" + b"N0" * 600_000 + b"N."
    yield "many lists", b"\x80\x02(" + b"]" * 1_100_000 + b"l."
    yield "many memo entries", b"\x80\x04]" + b"\x94" * 1_100_000 + b"."
    copies = b"cbuiltins\nlist\nq\x01h\x00\x85R0" + b"h\x01h\x00\x85R0" * 20_000
    yield "copies of a long list", b"\x80\x02](" + b"K\x01" * 100_000 + b"eq\x00" + copies + b"."
    sets = b"cbuiltins\nset\nq\x01h\x00\x85R" + b"h\x01h\x00\x85R" * 20_000
    yield "copies of a long set", b"\x80\x02((" + b"K\x01" * 100_000 + b"lq\x00" + sets + b"t."
    one = load_from_bytes(torch_legacy(tensor(1), {"0": bytes(4)}))[2:-1]
    again = b"ctorch.storage\n_load_from_bytes\nq\x05" + one.split(b"\n", 2)[2].removesuffix(b"\x85R") + b"q\x06\x85R0"
    yield "one file inside read for ever", b"\x80\x04]" + again + b"h\x05h\x06\x85R0" * 100_000 + b"."
    nest = torch_legacy(tensor(1), {"0": bytes(4)})
    for _ in range(6):
        nest = load_from_bytes(nest)
    yield "files inside files", nest
    yield "long whole number", b"\x80\x02\x8b\xff\xff\xff\x0f" + b"\x01" * 1000 + b"."
    yield "whole number of many digits", b"I" + b"9" * 90_000 + b"\n."
    yield (
        "keys that hash alike",
        b"\x80\x02}(" + b"".join(_value((2**61 - 1) * i) + b"N" for i in range(50_000)) + b"u.",
    )
    yield "line without end", b"I" + b"1" * 300_000
    yield "text of 4 GB", b"\x80\x02X\xff\xff\xff\xff" + b"a" * 100 + b"."
    yield "text of 2^63", b"\x80\x04\x8d" + struct.pack("<Q", 2**63 - 1) + b"a."
    yield "bytes of 2^64", b"\x80\x04\x8e" + struct.pack("<Q", 2**64 - 1) + b"a."
    yield "bytearray of 2^40", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a."
    yield "frame of 2^60", b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N"
    yield "npy header of parentheses", npy(b"", header="(" * 5000)
    yield "npy header longer than the file", b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{}"
    yield "npy of 10 GB", npy(bytes(100), header="{'descr': '<f4', 'fortran_order': False, 'shape': (2500000000,)}")
    yield (
        "npy with a negative size",
        npy(bytes(16), header="{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -1)}"),
    )
    yield "npy with a shape of text", npy(bytes(16), header="{'descr': '<f4', 'fortran_order': False, 'shape': 'abcd'}")
    ten = 10 * 1024**3 // 4
    for name, container in (("zip", torch_zip), ("legacy", torch_legacy)):
        yield f"{name}: 10 GB declared", container(tensor(ten), {"0": bytes(64)})
        yield f"{name}: 10 GB declared, no storage", container(tensor(ten))
        yield f"{name}: storage not in the file", container(tensor(16, key="7"), {"0": bytes(64)})
        yield f"{name}: size 10 GB over 64 bytes", container(tensor(16, shape=(ten,)), {"0": bytes(64)})
        yield f"{name}: expanded to 10 GB", container(tensor(16, shape=(ten,), strides=(0,)), {"0": bytes(64)})
        yield (
            f"{name}: expanded in two directions",
            container(tensor(16, shape=(10**5, 10**5), strides=(0, 0)), {"0": bytes(64)}),
        )
        yield f"{name}: overlapping windows", container(tensor(16, shape=(8, 10**9), strides=(1, 0)), {"0": bytes(64)})
        yield f"{name}: stride out of bounds", container(tensor(16, shape=(4, 4), strides=(1000, 1)), {"0": bytes(64)})
        yield f"{name}: one element too far", container(tensor(16, offset=1), {"0": bytes(64)})
        yield f"{name}: offset out of bounds", container(tensor(16, offset=2**40, shape=(1,)), {"0": bytes(64)})
        yield f"{name}: negative offset", container(tensor(16, offset=-4, shape=(4,)), {"0": bytes(64)})
        yield f"{name}: negative stride", container(tensor(16, shape=(4,), strides=(-1,)), {"0": bytes(64)})
        yield f"{name}: negative size", container(tensor(16, shape=(-4,)), {"0": bytes(64)})
        yield (
            f"{name}: product of sizes overflows",
            container(tensor(16, shape=(2**33, 2**33), strides=(0, 0)), {"0": bytes(64)}),
        )
        yield f"{name}: size beyond 64 bits", container(tensor(16, shape=(2**70,), strides=(0,)), {"0": bytes(64)})
        yield (
            f"{name}: a thousand dimensions",
            container(tensor(16, shape=(1,) * 1000, strides=(1,) * 1000), {"0": bytes(64)}),
        )
        yield (
            f"{name}: sizes and strides of two lengths",
            container(tensor(16, shape=(4, 4), strides=(1,)), {"0": bytes(64)}),
        )
        yield f"{name}: a text as size", container(tensor(16, shape=("a",)), {"0": bytes(64)})
        yield f"{name}: a truth value as size", container(tensor(16, shape=(True,)), {"0": bytes(64)})
        yield f"{name}: negative count", container(tensor(-4), {"0": bytes(64)})
        yield f"{name}: of 4-bit integers", container(tensor(16, storage="torch\nQUInt4x2Storage"), {"0": bytes(64)})
    yield "zip: fewer bytes than declared", torch_zip(tensor(16), {"0": bytes(60)})
    yield "zip: more bytes than declared", torch_zip(tensor(16), {"0": bytes(68)})
    yield "legacy: fewer bytes than declared", torch_legacy(tensor(16), {"0": bytes(60)})
    yield "legacy: count of 2^62", LEGACY + tensor(16) + pickle.dumps(["0"], 2) + struct.pack("<q", 2**62) + bytes(64)
    yield "legacy: negative count in the data", LEGACY + tensor(16) + pickle.dumps(["0"], 2) + struct.pack("<q", -16)
    yield (
        "legacy: a storage twice",
        LEGACY + tensor(16) + pickle.dumps(["0", "0"], 2) + 2 * (struct.pack("<q", 16) + bytes(64)),
    )
    yield "legacy: keys that are not a list", LEGACY + tensor(16) + pickle.dumps({"0": 1}, 2) + bytes(72)
    yield "legacy: a storage nothing refers to", torch_legacy(tensor(16), {"0": bytes(64), "1": bytes(64)})


def zips_that_lie() -> Iterator[tuple[str, bytes]]:
    """Archives whose table of contents does not say the truth."""
    good = {"0": bytes(64)}
    for name in (
        "../evil.py",
        "archive/../../evil.py",
        "/etc/cron.d/evil",
        "C:/evil.py",
        "archive\\..\\evil.py",
        "archive//x",
        "archive/./x",
        ".",
        "..",
    ):
        yield f"zip slip {name!r}", torch_zip(tensor(16), good, {name: b"import os"})
    link = zipfile.ZipInfo("archive/data/link")
    link.external_attr = 0o120777 << 16
    yield "zip: symlink", _zip_with(link, b"/etc/passwd")
    for kind, mode in (("device", 0o020666), ("pipe", 0o010666), ("socket", 0o140777)):
        info = zipfile.ZipInfo(f"archive/{kind}")
        info.external_attr = mode << 16
        yield f"zip: {kind}", _zip_with(info, b"")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor(2_500_000))
        archive.writestr("archive/data/0", bytes(10_000_000))
    yield "zip: bomb", buffer.getvalue()
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02}.")
        yield f"zip: compression {method}", buffer.getvalue()
    base = torch_zip(tensor(16), good)
    yield "zip: duplicate", _rename(base, b"archive/byteorder", b"archive/data.pkl\0")
    yield "zip: name with a zero", _rename(base, b"archive/byteorder", b"archive/by\0eorder")
    yield "zip: duplicate of a storage", _duplicate()
    yield "zip: two data.pkl", torch_zip(tensor(16), good, {"other/data.pkl": b"\x80\x02}."})
    yield "zip: no data.pkl", _rename(base, b"archive/data.pkl", b"archive/data.txt")
    yield "zip: other checksum", base.replace(bytes(64), b"\x01" + bytes(63), 1)
    yield "zip: big endian", base.replace(b"little", b"bigbig")
    central = base.index(b"PK\x01\x02")
    for what, at, value in (
        ("encrypted", 8, struct.pack("<H", 1)),
        ("size of 4 GB", 24, struct.pack("<I", 0xFFFFFFF0)),
        ("stored size of 4 GB", 20, struct.pack("<I", 0xFFFFFFF0)),
        ("offset outside", 42, struct.pack("<I", 0x7FFFFFFF)),
        ("offset in another entry", 42, struct.pack("<I", 4)),
        ("method 99", 10, struct.pack("<H", 99)),
        ("name length", 28, struct.pack("<H", 60000)),
        ("extra length", 30, struct.pack("<H", 60000)),
    ):
        yield f"zip: {what}", base[: central + at] + value + base[central + at + len(value) :]
    second = base.index(b"PK\x01\x02", central + 4)
    yield "zip: overlapping entries", base[: second + 42] + base[central + 42 : central + 46] + base[second + 46 :]
    end = base.index(b"PK\x05\x06")
    yield "zip: table of contents outside", base[: end + 16] + struct.pack("<I", 0x7FFFFFFF) + base[end + 20 :]
    yield "zip: table of contents of 2 GB", base[: end + 12] + struct.pack("<I", 0x7FFFFFFF) + base[end + 16 :]
    yield "zip: without its end", base[:end]
    yield "zip: of nothing", b"PK\x05\x06" + bytes(18)
    yield "zip: first bytes only", b"PK\x03\x04"


def _zip_with(info: zipfile.ZipInfo, content: bytes) -> bytes:
    buffer = io.BytesIO(torch_zip(tensor(16), {"0": bytes(64)}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(info, content)
    return buffer.getvalue()


def _rename(data: bytes, old: bytes, new: bytes) -> bytes:
    new = new[: len(old)].ljust(len(old), b"_")
    return data.replace(old, new)


def _duplicate() -> bytes:
    data = torch_zip(tensor(16), {"0": bytes(64), "1": bytes(range(64))})
    return data.replace(b"archive/data/1", b"archive/data/0")


def files_that_are_none() -> Iterator[tuple[str, bytes]]:
    """Yield files that failed downloads leave instead of a checkpoint."""
    yield "nothing", b""
    yield "zeros", bytes(4096)
    yield "web page", b"<!DOCTYPE html><html><body>Quota exceeded</body></html>"
    yield "git-lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield "text", b"hello\n" * 100
    yield "gzip", b"\x1f\x8b\x08" + bytes(100)
    yield "tar", bytes(257) + b"ustar" + bytes(300)
    yield "protocol 200", b"\x80\xc8N."
    yield "not a pickle instruction", b"\x80\x02\xff."
    yield "stack underflow", b"\x80\x02R."
    yield "mark missing", b"\x80\x02u."
    yield "memo missing", b"\x80\x02h\x07."
    yield "values left over", b"\x80\x02K\x01K\x02."
    yield "only a mark", b"\x80\x02(."
    yield "odd dictionary", b"\x80\x02}(K\x01u."
    yield "list as a key", b"\x80\x02}]K\x01s."
    yield "append to a number", b"\x80\x02K\x01K\x02a."
    yield "item of a list", b"\x80\x02]K\x01K\x02s."
    yield "member of a list", b"\x80\x04](K\x01\x90."
    yield "broken utf-8", b"\x80\x02X\x02\x00\x00\x00\xff\xfe."
    yield "number that is none", b"Iabc\n."
    yield "float that is none", b"Fabc\n."
    yield "text that is code", b"S__import__('os')\n."
    yield "unicode that is broken", b"V\\u12\n."


def truncated(data: bytes, name: str, count: int) -> Iterator[tuple[str, bytes]]:
    """A good file cut at `count` places."""
    for index in range(count):
        cut = 1 + index * (len(data) - 2) // count
        yield f"{name} cut at {cut} of {len(data)}", data[:cut]
