# A session: one code after the other, each by the runner, in the scope that the one before it has left. Threads of the
# code go on in between, and what they write then is nowhere.
import linecache

pid, number, asks, rich = posix.getpid(), 0, builtins.input, {}
kept_main = type(sys)("__main__")
silent = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)


def place(streams):
    for fd, stream_fd in enumerate(streams):
        posix.dup2(stream_fd, fd)


def hush():
    # Before the end is told: from then on nobody reads.
    if posix.getpid() == pid:
        place([silent] * 3)


def end_run(code):
    if posix.getpid() != pid:
        # Forked by the code, and come as far as the end.
        posix._exit(code)
    raise Touched


def let_go(fd):
    try:
        posix.close(fd)
    except OSError:
        # The code was there before.
        pass


def write_out():
    for one in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            one.flush()
        except Exception:
            pass


def renew_randomness():
    # `random` itself is told of the fork.
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def step():
    global number, pid, frames
    frames = None
    taken = forkpoint.take(0)
    *streams, code, frames = map(int, taken[:5])
    # What was written since the last end goes where that went.
    write_out()
    place(streams)
    for fd in streams:
        posix.close(fd)
    if posix.getpid() != pid:
        pid = posix.getpid()
        renew_randomness()
    number += 1
    if sys.stdin is sys.__stdin__:
        renew_stdin()
    sys.argv[:] = ["", *[argument.decode("utf-8", "surrogateescape") for argument in taken[5:]]]
    names = {"session": {"main": kept_main, "number": number, "hush": hush, "rich": rich}}
    names.update(__name__="__main__", __builtins__=__builtins__, scripts=scripts, sample=(code, frames, end_run))
    try:
        exec(runner, names)
    finally:
        hush()
        if builtins.input is names.get("no_input"):
            builtins.input = asks


def tell_stray(error):
    texts = type(error).__name__.encode(), b"raised by a signal between two runs", b""
    frame = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    try:
        posix.write(frames, b"\3" + frame)
    except OSError:
        pass


while True:
    try:
        try:
            step()
        except Touched:
            pass
        except BaseException as error:
            # What a signal's handler raised just here.
            if frames is not None:
                tell_stray(error)
        if frames is not None:
            let_go(frames)
    except BaseException:
        continue
