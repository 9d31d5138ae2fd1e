# Runs the code on descriptor 3 and tells its end on descriptor 4: one frame, `value` or `exception`.
# Before the caller's code only built-in modules are imported: every other import costs milliseconds.
import sys, os, _ast


def _main():
    code_fd, frames_fd = 3, 4
    text_max = 1 << 20
    name = "<code>"
    first_pid = os.getpid()
    os.set_inheritable(frames_fd, False)
    with open(code_fd, "rb") as file:
        source = file.read()
    module = type(sys)("__main__")
    scope = module.__dict__
    scope["__builtins__"] = __builtins__
    scope["__file__"] = name
    sys.modules["__main__"] = module
    sys.argv[0] = name
    sys.path.insert(0, "")

    def rows():
        try:
            text = source.decode("utf-8")
        except UnicodeDecodeError:
            text = source.decode("latin-1")
        return len(text), None, text.splitlines(True), name

    class Lines:
        # Shows the code to whoever asks `linecache` for it (tracebacks, `inspect`), once that is imported.
        def find_spec(self, wanted, path=None, target=None):
            if wanted != "linecache":
                return None
            sys.meta_path.remove(self)
            specs = (finder.find_spec(wanted, path, target) for finder in sys.meta_path)
            spec = next((spec for spec in specs if spec is not None), None)
            loader = getattr(spec, "loader", None)
            if loader is not None and not isinstance(loader, type):
                execute = loader.exec_module

                def exec_module(linecache):
                    execute(linecache)
                    linecache.cache[name] = rows()

                loader.exec_module = exec_module
            return spec

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
                left = left[os.write(frames_fd, left):]
        except OSError:
            # The code has closed the channel; the exit status speaks for it.
            pass

    def flush():
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            try:
                stream.flush()
            except Exception:
                pass

    def settle():
        # As at the end of a script: threads are waited for, then what was registered runs.
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        atexit = sys.modules.get("atexit")
        if atexit is not None:
            atexit._run_exitfuncs()
        flush()

    def settled(code):
        # The exit code that is left after settling, which may itself ask for another.
        try:
            settle()
        except SystemExit as error:
            code = status(error)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        flush()
        return code

    def status(error):
        code = error.code
        if code is None:
            return 0
        if isinstance(code, int):
            # As the interpreter itself has it: what does not fit is -1.
            return code & 255 if -(1 << 63) <= code < 1 << 63 else 255
        try:
            sys.stderr.write(f"{code}\n")
        except Exception:
            pass
        return 1

    def is_runners(trace):
        return trace.tb_frame.f_globals is globals()

    def is_loops(trace):
        return str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == "asyncio"

    def cut(error):
        # Leave out the frames that led to the caller's code, and none of those that it led to.
        trace = error.__traceback__
        while trace is not None and is_runners(trace):
            trace = trace.tb_next
        past = trace
        while past is not None and is_loops(past):
            past = past.tb_next
        if past is not None and past.tb_frame.f_globals is scope:
            trace = past
        error.__traceback__ = trace

    def chain(error):
        seen, todo = [], [error]
        while todo:
            error = todo.pop()
            if error is not None and not any(error is other for other in seen):
                seen.append(error)
                todo += [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]
        return seen

    def traced(error):
        import traceback

        for one in chain(error):
            cut(one)
        told = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
        text = "".join(told.format())
        header = "Traceback (most recent call last):\n"
        # An error of syntax has no frame, and so no header.
        bare = error.__traceback__ is None and error.__cause__ is None and error.__context__ is None
        return text.removeprefix(header) if bare else text

    def show(error):
        kind = type(error)
        label = kind.__qualname__
        if kind.__module__ not in ("builtins", "__main__"):
            label = f"{kind.__module__}.{label}"
        try:
            message = str(error)
        except Exception as inner:
            message = f"<no message: {type(inner).__name__}>"
        try:
            trace = traced(error)
        except Exception:
            trace = ""
        return label, message, trace

    def leave(code, kind, *texts):
        # A process that the code has forked, and that came this far, ends as a script does and tells nothing.
        if os.getpid() == first_pid:
            tell(kind, *texts)
        elif kind == 3:
            sys.stderr.write(texts[-1])
            flush()
        os._exit(code)

    result = "<value>"
    allow_await = getattr(_ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0x2000)

    def compiled():
        tree = compile(source, name, "exec", _ast.PyCF_ONLY_AST | allow_await)
        last = tree.body[-1] if tree.body else None
        if isinstance(last, _ast.Expr):
            # One code object, so that futures, the event loop and all else are the same for the last expression.
            place = {
                "lineno": last.lineno,
                "col_offset": last.col_offset,
                "end_lineno": last.end_lineno,
                "end_col_offset": last.end_col_offset,
            }
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
        os._exit(settled(status(error)))
    except BaseException as error:
        try:
            told = show(error)
        except BaseException:
            told = (type(error).__name__, "", "")
        settled(1)
        leave(1, 3, *told)
    code = settled(0)
    if code:
        os._exit(code)
    if text is None:
        leave(0, 2)
    leave(0, 1, text)


_main()
