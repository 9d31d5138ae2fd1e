# Runs the code on descriptor 3 and tells its end on descriptor 4: one frame, `value` or `exception`.
# Before the caller's code only built-in modules are imported: every other import costs milliseconds.
import sys, os, _ast


def _main():
    code_fd, frames_fd = 3, 4
    os.set_inheritable(frames_fd, False)
    with open(code_fd, "rb") as file:
        source = file.read()
    name = "<code>"
    module = type(sys)("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    scope = module.__dict__
    sys.argv[0] = name
    sys.path.insert(0, "")
    lines = None

    def tell(kind, *texts):
        parts = [bytes([kind])]
        for text in texts:
            data = text.encode("utf-8", "replace")[:1 << 20]
            parts += [len(data).to_bytes(4, "little"), data]
        left = b"".join(parts)
        while left:
            left = left[os.write(frames_fd, left):]

    def flush():
        for stream in (sys.stdout, sys.stderr):
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

    def leave(code):
        try:
            settle()
        finally:
            os._exit(code)

    def on_exit(error):
        code = error.code
        if code is None:
            leave(0)
        if isinstance(code, int):
            leave(code & 255)
        sys.stderr.write(f"{code}\n")
        leave(1)

    def traced(error):
        import linecache
        import traceback

        try:
            text = source.decode("utf-8")
        except UnicodeDecodeError:
            text = source.decode("latin-1")
        rows = text.splitlines(True)
        linecache.cache[name] = (len(text), None, rows, name)
        told = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
        seen = set()

        def strip(one):
            # Leave out the frames of this runner, in every exception of the chain.
            if one is None or id(one) in seen:
                return
            seen.add(id(one))
            frames = [frame for frame in one.stack if frame.filename != "<string>"]
            one.stack = traceback.StackSummary.from_list(frames)
            strip(one.__cause__)
            strip(one.__context__)

        strip(told)
        return "".join(told.format())

    def show(error):
        kind = type(error)
        label = kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
        try:
            message = str(error)
        except Exception as inner:
            message = f"<no message: {type(inner).__name__}>"
        try:
            trace = traced(error)
        except Exception:
            trace = ""
        return label, message, trace

    allow_await = getattr(_ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0x2000)

    def call(compiled, evaluate):
        result = eval(compiled, scope)
        if compiled.co_flags & 0x80:
            import asyncio

            result = asyncio.run(result)
        return result if evaluate else None

    try:
        tree = compile(source, name, "exec", _ast.PyCF_ONLY_AST | allow_await)
        last = None
        if tree.body and isinstance(tree.body[-1], _ast.Expr):
            last = _ast.Expression(tree.body.pop().value)
        body = compile(tree, name, "exec", allow_await)
        tail = compile(last, name, "eval", allow_await) if last is not None else None
        call(body, False)
        value = call(tail, True) if tail is not None else None
        text = None if value is None else repr(value)
        if text is not None and not isinstance(text, str):
            text = str(text)
    except SystemExit as error:
        on_exit(error)
    except BaseException as error:
        try:
            told = show(error)
        except BaseException:
            told = (type(error).__name__, "", "")
        try:
            settle()
        except BaseException:
            pass
        tell(3, *told)
        os._exit(1)
    try:
        settle()
    except SystemExit as error:
        on_exit(error)
    if text is None:
        tell(2)
    else:
        tell(1, text)
    os._exit(0)


_main()
