# Rich results, as notebooks have them: what values show of themselves beside their text, `display`, and figures.
# Compiled only in runs that ask for it, with what the runner has defined so far. Libraries are looked for in
# `sys.modules` and never imported: what the code has not imported it does not use.
import builtins, posix, sys
from _io import BytesIO
from _json import encode_basestring
from _thread import RLock
from _weakref import ref
from binascii import b2a_base64

tell_last = tell
display_kind = 4
# In bytes: the text of one result, a result, and all of them, which is as much as an answer has room for. The last
# part of that is for texts alone.
text_max, result_max, all_max, texts_room = 1 << 20, 3 << 20, 4 << 20, 1 << 19
# More than the keys and brackets of a result need.
frame_margin = 256
results_max, pictures_max = 64, 16
# A larger table, or a value nested deeper, is not told as JSON.
cells_max, depth_max = 100_000, 32

mimes = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
    "text/latex": "latex",
    "application/json": "json",
    "application/javascript": "javascript",
    "text/javascript": "javascript",
}
pictures = ("svg", "png", "jpeg", "pdf")
methods = ("html", "markdown", *pictures, "latex", "json", "javascript")

channel = open(frames_fd, "wb", buffering=result_max + 8, closefd=False)
busy = RLock()
waiting = []
is_writing = False
result_count = picture_count = bytes_told = 0
has_main = is_noted = False
# Weak references to the figures that were shown.
shown = []


def note(text):
    try:
        sys.stderr.write(f"{text}\n")
    except Exception:
        pass


def note_bounds():
    global is_noted
    if not is_noted:
        is_noted = True
        note(
            "Some rich results are left out, in part or whole: there is room for"
            f" {results_max}, of which {pictures_max} with pictures, {result_max >> 20} MiB each and"
            f" {all_max >> 20} MiB together."
        )


def write():
    # No frame comes between the parts of another. A thread waits; a signal's handler or a finalizer leaves its frame
    # to what it interrupted. If an exception interrupts that, the buffer has the rest, which goes first the next time.
    global is_writing
    with busy:
        if not is_writing:
            is_writing = True
            try:
                while waiting:
                    channel.write(waiting.pop(0))
                    channel.flush()
            except OSError:
                # The code has closed the channel.
                pass
            finally:
                is_writing = False


def tell(kind, *texts):
    # The lock is kept, so that nothing follows the last frame.
    busy.acquire()
    waiting.append(b"")
    write()
    tell_last(kind, *texts)


def plain(text):
    # A string of no other class, and without what is no UTF-8.
    return "".join([text]).encode("utf-8", "backslashreplace").decode()


def quoted(text, room=result_max):
    if str.__len__(text) > room:
        raise OverflowError
    return encode_basestring(plain(text))


def quoted_start(text):
    start = plain(str.__getitem__(text, slice(text_max)))
    while len(told := encode_basestring(start).encode()) > text_max:
        # Not longer than it may be if what is left out needs as many bytes as the rest.
        start = start[: len(start) * text_max // len(told)]
    return told.decode()


def is_of(kind, module, name):
    # Whether a class is, or comes from, one that a library has.
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(kind, found)


class Json:
    # The text of a value. What JSON cannot carry raises, but in a table its text stands for it.
    def __init__(self, value, is_table=False):
        self.parts, self.room, self.is_table = [], result_max, is_table
        self.walk(value, 0)
        self.text = "".join(self.parts)

    def add(self, part):
        self.room -= len(part)
        if self.room < 0:
            raise OverflowError
        self.parts.append(part)

    def expect(self, count):
        # Each needs a comma and something of its own.
        if 2 * count > self.room:
            raise OverflowError

    def walk(self, value, depth):
        kind = type(value)
        if value is None:
            self.add("null")
        elif kind is bool:
            self.add("true" if value else "false")
        elif issubclass(kind, str):
            self.add(quoted(value, self.room))
        elif issubclass(kind, int):
            self.whole(int.__add__(value, 0))
        elif issubclass(kind, float):
            text = float.__repr__(value)
            self.add("null" if text in ("nan", "inf", "-inf") else text)
        elif depth < depth_max and issubclass(kind, (list, tuple)):
            base = list if issubclass(kind, list) else tuple
            self.items(base.__iter__(value), base.__len__(value), depth)
        elif depth < depth_max and issubclass(kind, dict):
            self.fields(dict.items(value), dict.__len__(value), depth)
        else:
            self.other(value, kind, depth)

    def whole(self, value):
        # Readers of JSON have no larger ones.
        if -(1 << 63) <= value < 1 << 64:
            self.add(str(value))
        elif self.is_table:
            self.add(f'"{value}"')
        else:
            raise OverflowError

    def items(self, items, count, depth):
        self.expect(count)
        before = "["
        for item in items:
            self.add(before)
            self.walk(item, depth + 1)
            before = ","
        self.add("]" if before == "," else "[]")

    def fields(self, fields, count, depth):
        self.expect(count)
        before = "{"
        for name, value in fields:
            if not issubclass(type(name), str):
                raise TypeError
            self.add(before + quoted(name, self.room) + ":")
            self.walk(value, depth + 1)
            before = ","
        self.add("}" if before == "," else "{}")

    def other(self, value, kind, depth):
        if is_of(kind, "numpy", "generic") and type(value.item()) is not kind:
            self.walk(value.item(), depth)
        elif value is getattr(sys.modules.get("pandas"), "NA", self):
            self.add("null")
        elif is_of(kind, "datetime", "date") or is_of(kind, "datetime", "time"):
            # No time at all is not even equal to itself.
            self.add(quoted(value.isoformat()) if value == value else "null")
        elif self.is_table:
            self.add(quoted(str(value), self.room))
        else:
            raise TypeError


def attempt(function, *arguments, **named):
    # None if it raises, whatever the code's own classes raise.
    try:
        return function(*arguments, **named)
    except BaseException:
        return None


def own(value, method, **arguments):
    # What a method gives that the value's class has, and not just the value.
    if any(method in base.__dict__ for base in type(value).__mro__):
        return getattr(value, method)(**arguments)


def entry(key, told):
    # The JSON text of an entry; None if that is not what this entry can be.
    if type(told) is tuple and len(told) == 2:
        # The second is metadata.
        told = told[0]
    kind = type(told)
    if told is None:
        return None
    if key == "json":
        return Json(told).text
    if key == "text" and issubclass(kind, str):
        return quoted_start(told)
    if issubclass(kind, str):
        return quoted(told)
    if key in pictures and issubclass(kind, (bytes, bytearray, memoryview)) and len(told) <= result_max:
        return f'"{b2a_base64(told, newline=False).decode()}"'


def entries_of_mimes(told):
    if type(told) is tuple and told:
        told = told[0]
    known = told.items() if isinstance(told, dict) else ()
    entries = [(mimes[mime], attempt(entry, mimes[mime], data)) for mime, data in known if mime in mimes]
    return {key: text for key, text in entries if text is not None}


def table(frame):
    if frame.size > cells_max:
        return None
    columns = {str(name): frame.iloc[:, at].tolist() for at, name in enumerate(frame.columns)}
    return Json(columns, is_table=True).text


def drawn(figure):
    # None if there is nothing but the background.
    if len(figure.get_children()) < 2:
        return None
    file = BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi, facecolor=figure.get_facecolor(), bbox_inches="tight")
    return entry("png", file.getvalue())


def picture(figure):
    if picture_count >= pictures_max:
        return note_bounds()
    try:
        text = drawn(figure)
        shown[:] = [other for other in shown if other() not in (None, figure)] + [ref(figure)]
        # From here on it says whether the figure was changed.
        figure.stale = False
        return text
    except BaseException as error:
        note(f"A figure could not be drawn: {type(error).__name__}: {attempt(str, error)}")


def add_entries(value, entries):
    kind = type(value)
    told = attempt(own, value, "_repr_mimebundle_", include=None, exclude=None)
    entries.update(attempt(entries_of_mimes, told) or {})
    for key in methods:
        if key not in entries:
            entries[key] = attempt(entry, key, attempt(own, value, f"_repr_{key}_"))
    if entries["json"] is None and issubclass(kind, (dict, list)):
        entries["json"] = attempt(entry, "json", value)
    if is_of(kind, "pandas", "DataFrame"):
        entries["data"] = attempt(table, value)
    if is_of(kind, "matplotlib.figure", "Figure"):
        entries["png"] = picture(value)


def cut(entries, room):
    # Leave out the largest until there is room, but never the text.
    while sum(map(len, entries.values())) > room and entries.keys() - {"text"}:
        del entries[max(entries.keys() - {"text"}, key=lambda key: len(entries[key]))]
        note_bounds()


def show_value(value, text, is_main=False):
    entries = {"text": entry("text", text)}
    attempt(add_entries, value, entries)
    show({key: told for key, told in entries.items() if told is not None}, is_main)


def show(entries, is_main=False):
    global result_count, picture_count, bytes_told, has_main
    has_main = has_main or is_main
    if picture_count >= pictures_max and not entries.keys().isdisjoint(pictures):
        entries = {key: told for key, told in entries.items() if key not in pictures}
        note_bounds()
    entries = {key: told.encode() for key, told in entries.items()}
    left = all_max - bytes_told - frame_margin
    cut(entries, min(result_max - frame_margin, left - texts_room))
    # The main result keeps its place.
    is_full = result_count >= results_max - (not has_main)
    if is_full or sum(map(len, entries.values())) > left:
        return note_bounds()
    if not entries:
        return
    told = b"".join(b'"%s":%s,' % (key.encode(), text) for key, text in entries.items())
    told = b'{%s"is_main_result":%s}' % (told, b"true" if is_main else b"false")
    result_count += 1
    picture_count += not entries.keys().isdisjoint(pictures)
    bytes_told += len(told)
    waiting.append(bytes([display_kind]) + len(told).to_bytes(4, "little") + told)
    write()


def is_first():
    return posix.getpid() == first_pid


def show_result(value, text):
    if is_first():
        show_value(value, text, is_main=True)


def display(*objects, raw=False, **_):
    """Shows objects as rich results: by what their classes show of them, or as MIME types if `raw`."""
    for one in objects if is_first() else ():
        if raw:
            show(entries_of_mimes(one))
        else:
            show_value(one, repr(one))


def show_figures(*_, **__):
    """Shows the figures that are open, unless they were shown as they are, and closes them."""
    from matplotlib._pylab_helpers import Gcf

    for manager in Gcf.get_all_fig_managers():
        figure = manager.canvas.figure
        if figure.stale or not any(other() is figure for other in shown):
            display(figure)
    Gcf.destroy_all()


def end():
    if "matplotlib._pylab_helpers" in sys.modules:
        attempt(show_figures)


class Changes:
    # What is another here than it was written, once it is imported.
    wanted = {
        "matplotlib.pyplot": ("show", show_figures),
        "IPython.core.display_functions": ("display", display),
    }

    def find_spec(self, name, path=None, target=None):
        change = self.wanted.get(name)
        if change is None:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in specs if spec is not None), None)
        execute = spec and spec.loader.exec_module

        def exec_module(module):
            execute(module)
            setattr(module, *change)

        if spec is not None:
            spec.loader.exec_module = exec_module
        return spec


builtins.display = display
sys.meta_path.insert(0, Changes())
