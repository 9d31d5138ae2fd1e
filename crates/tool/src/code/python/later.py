# The part of the runner that only some runs need: leaving by `sys.exit`, exceptions, and showing the code's lines.
# Compiled when it is first needed, with `name`, `source`, `scope` and `runner` (the runner's globals) given.
import sys


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


def rows():
    # An entry of `linecache.cache`.
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError:
        text = source.decode("latin-1")
    return len(text), None, text.splitlines(True), name


def linecache_spec(path, target):
    # The spec of `linecache`, whose module will know the code from its start.
    specs = (finder.find_spec("linecache", path, target) for finder in sys.meta_path)
    spec = next((spec for spec in specs if spec is not None), None)
    loader = getattr(spec, "loader", None)
    if loader is not None and not isinstance(loader, type):
        execute = loader.exec_module

        def exec_module(linecache):
            execute(linecache)
            linecache.cache[name] = rows()

        loader.exec_module = exec_module
    return spec


def is_loops(trace):
    return str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == "asyncio"


def cut(error):
    # Leave out the frames that led to the caller's code, and none of those that it led to.
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is runner:
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
    # An error of syntax has no frame, and so no header.
    bare = error.__traceback__ is None and error.__cause__ is None and error.__context__ is None
    return text.removeprefix("Traceback (most recent call last):\n") if bare else text


def show(error):
    # Name, message and traceback of an exception.
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
