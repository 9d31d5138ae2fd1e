# Runs the code on descriptor 3 and tells its end on descriptor 4: one frame, `value` or `exception`.
# Nothing is read from a file before the caller's code, and as little as can be is compiled: every run pays for it.
# What only some runs need is in `later.py`, which comes as the first argument. The work of `site` (-S) is done here.
import builtins, posix, sys, _ast, _sitebuiltins


def _main():
    code_fd, frames_fd = 3, 4
    text_max = 1 << 20
    name, result = "<code>", "<value>"
    first_pid = posix.getpid()
    posix.set_inheritable(frames_fd, False)
    with open(code_fd, "rb") as file:
        source = file.read()
    module = type(sys)("__main__")
    scope = module.__dict__
    scope["__builtins__"] = __builtins__
    scope["__file__"] = name
    sys.modules["__main__"] = module
    sys.argv[0] = name
    later_source = sys.argv.pop(1)
    kept = {}

    def later(function, *arguments):
        if not kept:
            kept.update(name=name, source=source, scope=scope, runner=globals())
            exec(compile(later_source, "<runner>", "exec"), kept)
        return kept[function](*arguments)

    def is_there(path):
        try:
            return bool(posix.stat(path))
        except OSError:
            return False

    version = "%d.%d" % sys.version_info[:2]
    packages = (
        f"/usr/local/lib/python{version}/dist-packages",
        "/usr/lib/python3/dist-packages",
        f"{sys.prefix}/lib/python{version}/site-packages",
    )
    sys.path[:] = ["", *sys.path, *filter(is_there, packages)]
    for ending in ("exit", "quit"):
        setattr(builtins, ending, _sitebuiltins.Quitter(ending, "Ctrl-D (i.e. EOF)"))
    builtins.help = _sitebuiltins._Helper()

    class Lines:
        # Shows the code to whoever asks `linecache` for it (tracebacks, `inspect`), once that is imported.
        def find_spec(self, wanted, path=None, target=None):
            if wanted == "linecache":
                sys.meta_path.remove(self)
                return later("linecache_spec", path, target)

    sys.meta_path.insert(0, Lines())

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

    def flush():
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            try:
                stream.flush()
            except Exception:
                pass

    def settled(code):
        # As at the end of a script: threads are waited for, then what was registered runs, which may ask for
        # another exit code.
        try:
            if "threading" in sys.modules:
                sys.modules["threading"]._shutdown()
            if "atexit" in sys.modules:
                sys.modules["atexit"]._run_exitfuncs()
        except SystemExit as error:
            code = later("status", error)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        flush()
        return code

    def leave(code, kind, *texts):
        # A process that the code has forked, and that came this far, ends as a script does and tells nothing.
        if posix.getpid() == first_pid:
            tell(kind, *texts)
        elif kind == 3:
            sys.stderr.write(texts[-1])
            flush()
        posix._exit(code)

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

    try:
        code = compiled()
        running = eval(code, scope)
        if code.co_flags & 0x80:
            import asyncio

            asyncio.run(running)
        value = scope.pop(result, None)
        text = None if value is None else repr(value)
    except SystemExit as error:
        posix._exit(settled(later("status", error)))
    except BaseException as error:
        try:
            told = later("show", error)
        except BaseException:
            told = (type(error).__name__, "", "")
        settled(1)
        leave(1, 3, *told)
    code = settled(0)
    if code:
        posix._exit(code)
    if text is None:
        leave(0, 2)
    leave(0, 1, text)


_main()
