# An interpreter that is forked for each run. It imports what code asks for most, so that nobody waits for that; every
# fork runs the runner, which was compiled once, as an interpreter of its own would. The first argument is the runner, the
# second what serves a session, others are modules that only some code needs; a dash says that this one was started for a
# session alone.
import _imp, builtins, gc, posix, sys

bare = set(sys.modules)
session, is_alone = sys.argv[2], sys.argv[3:] == ["-"]

# Loaded by its descriptor, and known by no name afterwards.
forkpoint = _imp.create_dynamic(type(sys.implementation)(name="forkpoint", origin="/proc/self/fd/4"))
sys.modules.pop("forkpoint", None)

runner = compile(sys.argv[1], "<string>", "exec")
scripts = [compile(part, "<runner>", "exec") for part in posix.environ.pop(b"EXECGATE_SCRIPTS").split(b"\f")]
posix.unsetenv(b"EXECGATE_SCRIPTS")

wanted = """
    abc argparse base64 bisect collections collections.abc contextlib copy csv dataclasses datetime decimal enum
    fractions functools glob hashlib heapq html io itertools json math numbers operator os os.path pathlib pprint random
    re secrets shutil statistics string struct subprocess tempfile textwrap time traceback types typing unicodedata
    urllib.parse uuid zlib
"""
version = "%d.%d" % sys.version_info[:2]
own = sys.path[:]

import os

# At a fork this one puts all locks and the list of threads in order. A stem has one thread and holds no lock; what its
# forks fork themselves is put in order as ever.
hooks, register = [], os.register_at_fork
os.register_at_fork = lambda *, after_in_child: hooks.append(after_in_child)
import threading

os.register_at_fork = register
packages = [f"/usr/local/lib/python{version}/dist-packages", "/usr/lib/python3/dist-packages"]
packages += [f"{sys.prefix}/lib/python{version}/{part}-packages" for part in ("dist", "site")]
packages = [path for path in packages if os.path.exists(path)]
sys.path += packages
for name in () if is_alone else wanted.split() + sys.argv[3:]:
    try:
        __import__(name)
    except ImportError:
        # Not in this image.
        continue
sys.path[:] = own
del sys.argv[1:]


def stream(fd, mode, old):
    # As the interpreter makes it at its start, for what the descriptor is now.
    raw = open(fd, mode, -1, closefd=False)
    raw.raw.name = old.name
    made = _io.TextIOWrapper(raw, old.encoding, old.errors, "\n" if mode == "wb" else None, old.line_buffering)
    made.mode = old.mode
    return made


def renew_stdin():
    sys.stdin = sys.__stdin__ = stream(0, "rb", sys.__stdin__)


def make_streams():
    # For what a run's descriptors are: a memory file, and pipes. To make them anew for each run would cost more than
    # all else that is done for it.
    null = [posix.dup(fd) for fd in range(3)]
    reads, writes = posix.pipe()
    # A session makes its standard input anew for each run. It is in its jail already, where memory files may be forbidden.
    empty = posix.dup(0) if is_alone else posix.memfd_create("stdin")
    for fd, kind in enumerate((empty, writes, writes)):
        posix.dup2(kind, fd)
    renew_stdin()
    sys.stdout = sys.__stdout__ = stream(1, "wb", sys.__stdout__)
    sys.stderr = sys.__stderr__ = stream(2, "wb", sys.__stderr__)
    for fd, kind in enumerate(null):
        posix.dup2(kind, fd)
    for fd in (*null, reads, writes, empty):
        posix.close(fd)


sample = b"""
import json, re


class Sample:
    def __init__(self, items):
        self.items = [item for item in items if item]
text = "".join(f"{key}={value!r}" for key, value in {"a": 1.5, "b": Sample([1, 2])}.items())
try:
    json.loads("{")
except ValueError as error:
    print(error, sorted(text), re.sub("a", "b", text), sum(range(9)), flush=True)
print("hi")
text
"""


if "numpy" in sys.modules:
    # Without what has a buffer of its own made: that would be copied, too.
    sample = b"""
import numpy as np
items = np.arange(6, dtype=float)
table = items.reshape(2, 3) * 2 + np.ones(3)
print(items.sum(), table.mean(0), table[table > 3].max(), np.sort(items)[::-1], np.arange(3))
""" + sample


class Touched(BaseException):
    pass


def stop(_code):
    raise Touched


def run(**names):
    known = {"scripts": scripts, "packages": packages}
    exec(runner, {"__name__": "__main__", "__builtins__": __builtins__, **known, **names})


def begin(arguments):
    if arguments and b"stdin" in arguments[0] and posix.fstat(0).st_mode & 0o170000 != 0o100000:
        # No memory file: the caller's own.
        renew_stdin()
    # A file of the run's own goes before a module of that name, as it does where nothing was imported before.
    for file in posix.listdir(".") if forkpoint.has_files() else ():
        own = file.removesuffix(".py")
        if own not in bare:
            for name in [name for name in sys.modules if name == own or name.startswith(f"{own}.")]:
                del sys.modules[name]
    sys.argv += [argument.decode("utf-8", "surrogateescape") for argument in arguments]


def try_out():
    (code, end), frames = posix.pipe(), posix.open("/dev/null", posix.O_WRONLY)
    posix.write(end, sample)
    posix.close(end)
    main, path, argv = sys.modules["__main__"], sys.path[:], sys.argv[:]
    names, known = vars(builtins), builtins.input
    begin([b"-"])
    try:
        run(sample=(code, frames, stop))
    except Touched:
        sys.modules["__main__"], sys.path[:], sys.argv[:] = main, path, argv
        # All that the runner puts among these; a copy of the whole would write to every one of them.
        names["input"] = known
        for name in ("exit", "quit", "help"):
            names.pop(name, None)
        posix.close(frames)


import _io

make_streams()
if not is_alone:
    # What is made at the first run of all is made once, and here.
    try_out()
numpy = sys.modules.get("numpy")
gc.collect()
gc.freeze()
inherited = -5 if is_alone else forkpoint.serve()
# From here on it is a guest's, whose run may be there already.
for hook in hooks:
    register(after_in_child=hook)
threading.main_thread()._set_native_id()
if numpy:
    numpy.random.seed()
if inherited > 0:
    # What a run writes to first is copied now, and not then.
    for _ in range(2):
        try_out()
    gc.collect()
arguments = forkpoint.take(abs(inherited))
begin(arguments)
if not arguments:
    exec(compile(session, "<string>", "exec"))
run()
