# The part of the runner that only some runs need: leaving by `sys.exit`, exceptions, mending the code, and showing
# its lines. Compiled when it is first needed, with what the runner has defined, and that itself as `runner`.
import sys


def no_input():
    raise EOFError("no standard input was given to this run: send it as `stdin`")


def dedented(error):
    # As in a notebook: code that is indented as a whole loses the indentation of its first line.
    global source
    lines = source.removeprefix(b"\xef\xbb\xbf").splitlines(True)
    first = next((line for line in lines if line.strip() and line.lstrip()[:1] != b"#"), b"")
    indent = first[: -len(first.lstrip(b" \t"))]
    if error.msg != "unexpected indent" or not indent:
        raise error
    source = b"".join(line.removeprefix(indent) for line in lines)
    if "linecache" in sys.modules:
        sys.modules["linecache"].cache[name] = rows(source)
    return source


def settled(code):
    # As at the end of a script: threads are waited for, then what was registered runs, which may ask for
    # another exit code.
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        if "atexit" in sys.modules:
            sys.modules["atexit"]._run_exitfuncs()
    except SystemExit as error:
        code = status(error)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    return code


def end_fork(kind, *texts):
    # A process that the code has forked, and that came as far as the end, ends as a script does and tells nothing.
    if kind == 3:
        sys.stderr.write(texts[-1])
        flush()


def status(error):
    # The exit code that a `SystemExit` means.
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


def linecache_spec(path, target):
    # The spec of `linecache`, whose module will know the code from its start.
    specs = (finder.find_spec("linecache", path, target) for finder in sys.meta_path)
    spec = next((spec for spec in specs if spec is not None), None)
    loader = getattr(spec, "loader", None)
    if loader is not None and not isinstance(loader, type):
        execute = loader.exec_module

        def exec_module(linecache):
            execute(linecache)
            linecache.cache[name] = rows(source)

        loader.exec_module = exec_module
    return spec


def is_loops(trace):
    return str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == "asyncio"


def is_runners(trace):
    return trace.tb_frame.f_globals is runner or trace.tb_frame.f_code.co_filename == "<runner>"


def cut(error):
    # Leave out the frames that led to the caller's code, and of those that it led to only the runner's own at the end.
    trace = error.__traceback__
    while trace is not None and is_runners(trace):
        trace = trace.tb_next
    last = at = trace
    while at is not None:
        last = at if not is_runners(at) else last
        at = at.tb_next
    if last is not None:
        last.tb_next = None
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
    # An error of syntax has no frame, and so no header.
    bare = error.__traceback__ is None and error.__cause__ is None and error.__context__ is None
    return text.removeprefix("Traceback (most recent call last):\n") if bare else text


def null_error():
    # What newer interpreters say of it, in the form in which they say it.
    number, line = next((at, line) for at, line in enumerate(rows(source)[2], 1) if "\0" in line)
    place = (name, number, line.index("\0") + 1, line.replace("\0", "\N{SYMBOL FOR NULL}"))
    return SyntaxError("source code cannot contain null bytes", place)


def show(error):
    # Name, message and traceback of an exception.
    if b"\0" in source and type(error) in (ValueError, SyntaxError):
        cut(error)
        error = null_error() if error.__traceback__ is None else error
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
