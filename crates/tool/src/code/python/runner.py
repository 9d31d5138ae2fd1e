# Runs the code on descriptor 3 and tells its end on descriptor 4: one frame, `value` or `exception`.
# Nothing is read from a file before the caller's code, and as little as can be is compiled: every run pays for it, and
# for a function around all this too. What only some runs need comes in a variable: `later.py`, a form feed, `rich.py`.
# The first argument has words about the run, the rest is the caller's. The work of `site` (-S) is done here.
import builtins, posix, sys, _ast, _sitebuiltins, _thread

# An interpreter that waits runs a sample this way, into nothing, and goes on. So does one of a session.
code_fd, frames_fd, end_process = globals().get("sample") or (3, 4, posix._exit)
session = globals().get("session")
text_max = (1 << 20) + 4
name, result = "<code-%d>" % session["number"] if session else "<code>", "<value>"
first_pid = posix.getpid()
posix.set_inheritable(frames_fd, False)
source = b"".join(iter(lambda: posix.read(code_fd, 1 << 13), b""))
posix.close(code_fd)
module = session["main"] if session else type(sys)("__main__")
scope = module.__dict__
scope["__builtins__"] = __builtins__
scope["__file__"] = name
sys.modules["__main__"] = module
sys.argv[0] = name
if b"EXECGATE_SCRIPTS" in posix.environ:
    # In an interpreter that was forked they are there, and compiled.
    scripts = posix.environ.pop(b"EXECGATE_SCRIPTS").split(b"\f")
    posix.unsetenv(b"EXECGATE_SCRIPTS")
words = sys.argv.pop(1).split(",")
kept = rich = None


def script(at):
    return compile(scripts[at], "<runner>", "exec") if type(scripts[at]) is bytes else scripts[at]


def later(function, *arguments):
    global kept
    if not kept:
        kept = {**globals(), "runner": globals()}
        exec(script(0), kept)
    return kept[function](*arguments)


def is_there(path):
    try:
        return bool(posix.stat(path))
    except OSError:
        return False


def package_paths():
    version = "%d.%d" % sys.version_info[:2]
    yield from (f"/usr/local/lib/python{version}/dist-packages", "/usr/lib/python3/dist-packages")
    yield from (f"{sys.prefix}/lib/python{version}/{part}-packages" for part in ("dist", "site"))


def rows(source):
    # An entry of `linecache.cache`.
    try:
        # Not by `utf-8-sig`: that would be read from a file.
        text = source.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        text = source.decode("latin-1")
    # Lines end where a file's would; `splitlines` knows of more ends.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    last = lines.pop()
    return len(text), None, [line + "\n" for line in lines] + ([last] if last else []), name


def tell(kind, *texts):
    parts = [bytes([kind])]
    for text in texts:
        # A repr may be of a class of the caller's own, with methods of its own.
        plain = "".join([text])[:text_max]
        data = plain.encode("utf-8", "backslashreplace")[:text_max]
        parts += [len(data).to_bytes(4, "little"), data]
    left = b"".join(parts)
    try:
        while left:
            left = left[posix.write(frames_fd, left):]
    except OSError:
        # The code has closed the channel; the exit status speaks for it.
        pass


if session and session["rich"]:
    # Nothing of an earlier run is told by this one.
    session["rich"]["is_first"] = lambda: False
if "rich" in words:
    rich = {**globals()}
    if session:
        # What libraries were given stays theirs.
        sys.meta_path[:] = [one for one in sys.meta_path if type(one) is not session["rich"].get("Changes")]
        session["rich"].update(rich)
        rich = session["rich"]
    exec(script(1), rich)
    tell = rich["tell"]
if "stdin" not in words:
    builtins.input = no_input = lambda prompt="", /: later("no_input")

if not session or session["number"] == 1:
    # In an interpreter that was forked they are known: the image does not change.
    sys.path[:] = ["", *sys.path, *(globals().get("packages") or filter(is_there, package_paths()))]
    for ending in ("exit", "quit"):
        setattr(builtins, ending, _sitebuiltins.Quitter(ending, "Ctrl-D (i.e. EOF)"))
    builtins.help = _sitebuiltins._Helper()


def find_spec(wanted, path=None, target=None):
    # Shows the code to whoever asks `linecache` for it (tracebacks, `inspect`), once that is imported.
    if wanted == "linecache":
        sys.meta_path.remove(lines)
        return later("linecache_spec", path, target)




def flush():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            pass


def settled(code):
    if rich:
        rich["end"]()
    if not session and (_thread._count() or "atexit" in sys.modules and sys.modules["atexit"]._ncallbacks()):
        code = later("settled", code)
    flush()
    if session:
        session["hush"]()
    return code


def leave(code, kind, *texts):
    if posix.getpid() == first_pid:
        tell(kind, *texts)
    else:
        later("end_fork", kind, *texts)
    end_process(code)


def compiled():
    allow_await = getattr(_ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0x2000)
    tree = compile(source, name, "exec", _ast.PyCF_ONLY_AST | allow_await)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, _ast.Expr):
        # One code object, so that futures, the event loop and all else are the same for the last expression.
        place = {at: getattr(last, at) for at in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
        target = _ast.Name(result, _ast.Store(), **place)
        tree.body[-1] = _ast.Assign([target], last.value, None, **place)
    return compile(tree, name, "exec", allow_await)


if "linecache" in sys.modules:
    sys.modules["linecache"].cache[name] = rows(source)
else:
    lines = type(sys.implementation)(find_spec=find_spec)
    sys.meta_path.insert(0, lines)

try:
    code = None
    try:
        code = compiled()
    except IndentationError as error:
        source = later("dedented", error)
    code = code or compiled()
    running = eval(code, scope)
    if code.co_flags & 0x80:
        import asyncio

        asyncio.run(running)
    value = scope.pop(result, None)
    text = None if value is None else repr(value)
    if rich and text is not None:
        rich["show_result"](value, text)
except SystemExit as error:
    code = later("status", error)
    if not session:
        end_process(settled(code))
    # As in a notebook: nobody is asked to end.
    settled(code)
    leave(code, *(3, "SystemExit", str(code), "") if code else (2,))
except BaseException as error:
    try:
        told = later("show", error)
    except BaseException:
        told = (type(error).__name__, "", "")
    settled(1)
    leave(1, 3, *told)
code = settled(0)
if code:
    end_process(code)
if text is None:
    leave(0, 2)
leave(0, 1, text)
