//! What Python imports of this library: `serve`, which returns in a resident only, `take`, which gives it its run, and
//! `has_files`, which says whether the run has any.
//!
//! Python's own functions are looked up when it imports this, because the library is loaded by other interpreters too.
//! Its structures are those of the stable ABI (PEP 384), the same in every version that has it.
#![expect(unsafe_code, reason = "an extension module is made of Python's own pointers")]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::io;
use std::mem::transmute;
use std::ptr;
use std::sync::OnceLock;

use super::{arenas, text};
use crate::jail::{Around, Copies, has_files, take_request};
use crate::panics::{Tell, die_of_panics};
use crate::stem::{Hooks, serve, warm_seed};
use crate::sys;

/// What a Python function takes and gives.
type Object = *mut c_void;

/// `PyMethodDef`.
#[repr(C)]
struct Method {
    name: *const c_char,
    function: Option<extern "C" fn(Object, Object) -> Object>,
    flags: c_int,
    doc: *const c_char,
}

/// `PyModuleDef`, with the head that `PyModuleDef_HEAD_INIT` gives it.
#[repr(C)]
struct Module {
    references: isize,
    kind: Object,
    init: *const c_void,
    index: isize,
    copy: Object,
    name: *const c_char,
    doc: *const c_char,
    size: isize,
    methods: *const Method,
    slots: *const c_void,
    traverse: *const c_void,
    clear: *const c_void,
    free: *const c_void,
}

/// `METH_NOARGS`.
const NO_ARGUMENTS: c_int = 4;

/// `PYTHON_API_VERSION`.
const API_VERSION: c_int = 1013;

/// Python's own functions. Looked up when the library is imported: to look one up takes longer than what most of them do.
struct Functions {
    before_fork: Act,
    after_fork: Act,
    after_fork_child: Act,
    save_thread: Get,
    restore_thread: Put,
    number: OfNumber,
    as_number: AsNumber,
    truth: OfNumber,
    list: OfLength,
    bytes: OfBytes,
    append: Append,
    release: Put,
}

type Act = extern "C" fn();
type Get = extern "C" fn() -> Object;
type Put = extern "C" fn(Object);
type OfNumber = extern "C" fn(c_long) -> Object;
type AsNumber = extern "C" fn(Object) -> c_long;
type OfLength = extern "C" fn(isize) -> Object;
type OfBytes = extern "C" fn(*const u8, isize) -> Object;
type Append = extern "C" fn(Object, Object) -> c_int;

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

fn functions() -> &'static Functions {
    FUNCTIONS.get_or_init(Functions::find)
}

impl Functions {
    fn find() -> Self {
        Self {
            // SAFETY: `void PyOS_BeforeFork(void)`.
            before_fork: unsafe { transmute::<Object, Act>(sys::own_function(c"PyOS_BeforeFork")) },
            // SAFETY: `void PyOS_AfterFork_Parent(void)`.
            after_fork: unsafe { transmute::<Object, Act>(sys::own_function(c"PyOS_AfterFork_Parent")) },
            // SAFETY: `void PyOS_AfterFork_Child(void)`.
            after_fork_child: unsafe { transmute::<Object, Act>(sys::own_function(c"PyOS_AfterFork_Child")) },
            // SAFETY: `PyThreadState *PyEval_SaveThread(void)`.
            save_thread: unsafe { transmute::<Object, Get>(sys::own_function(c"PyEval_SaveThread")) },
            // SAFETY: `void PyEval_RestoreThread(PyThreadState *)`.
            restore_thread: unsafe { transmute::<Object, Put>(sys::own_function(c"PyEval_RestoreThread")) },
            // SAFETY: `PyObject *PyLong_FromLong(long)`.
            number: unsafe { transmute::<Object, OfNumber>(sys::own_function(c"PyLong_FromLong")) },
            // SAFETY: `long PyLong_AsLong(PyObject *)`.
            as_number: unsafe { transmute::<Object, AsNumber>(sys::own_function(c"PyLong_AsLong")) },
            // SAFETY: `PyObject *PyBool_FromLong(long)`.
            truth: unsafe { transmute::<Object, OfNumber>(sys::own_function(c"PyBool_FromLong")) },
            // SAFETY: `PyObject *PyList_New(Py_ssize_t)`.
            list: unsafe { transmute::<Object, OfLength>(sys::own_function(c"PyList_New")) },
            // SAFETY: `PyObject *PyBytes_FromStringAndSize(const char *, Py_ssize_t)`.
            bytes: unsafe { transmute::<Object, OfBytes>(sys::own_function(c"PyBytes_FromStringAndSize")) },
            // SAFETY: `int PyList_Append(PyObject *, PyObject *)`.
            append: unsafe { transmute::<Object, Append>(sys::own_function(c"PyList_Append")) },
            // SAFETY: `void Py_DecRef(PyObject *)`.
            release: unsafe { transmute::<Object, Put>(sys::own_function(c"Py_DecRef")) },
        }
    }

    /// A new list with these.
    fn list_of(&self, items: &[Vec<u8>]) -> Object {
        let list = (self.list)(0);
        for item in items {
            let item = (self.bytes)(item.as_ptr(), item.len().cast_signed());
            if (self.append)(list, item) != 0 {
                sys::exit_now(1);
            }
            (self.release)(item);
        }
        list
    }
}

const HOOKS: Hooks = Hooks {
    before: || (functions().before_fork)(),
    after: || (functions().after_fork)(),
    resident: || (functions().after_fork_child)(),
};

/// Python's own lock is free while a session waits, so that the code's threads go on.
fn wait(wait: &mut dyn FnMut()) {
    let thread = (functions().save_thread)();
    wait();
    (functions().restore_thread)(thread);
}

fn before() -> io::Result<()> {
    (HOOKS.before)();
    Ok(())
}

const AROUND: Around =
    Around { wait, copies: Some(Copies { before, after: HOOKS.after, copied: |_, _| (HOOKS.resident)() }) };

/// `serve() -> int`: how many of its descriptors the guest may inherit; negative where its run waits for it already.
extern "C" fn serve_from_python(_module: Object, _arguments: Object) -> Object {
    let Ok(seed) = warm_seed() else { sys::exit_now(1) };
    text::join();
    arenas::join();
    let resident = serve(Box::leak(Box::new(seed)), &HOOKS);
    let inherited = c_long::from(resident.inherited);
    (functions().number)(if resident.is_awaited { -inherited } else { inherited })
}

/// `take(inherited) -> list[bytes]`: the arguments. In a session the first list is empty, and what follows has the
/// numbers of the descriptors before them.
extern "C" fn take_from_python(_module: Object, inherited: Object) -> Object {
    let inherited = usize::try_from((functions().as_number)(inherited)).unwrap_or(0);
    functions().list_of(&take_request(inherited, &AROUND))
}

/// `has_files() -> bool`: whether any were put in place by now.
extern "C" fn has_files_from_python(_module: Object, _arguments: Object) -> Object {
    (functions().truth)(c_long::from(has_files()))
}

/// What Python calls when it imports `forkpoint`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn PyInit_forkpoint() -> Object {
    /// `METH_O`.
    const ONE_ARGUMENT: c_int = 8;
    die_of_panics(Tell::Nobody);
    functions();
    arenas::settle();
    let method = |name: &'static CStr, function: extern "C" fn(Object, Object) -> Object, flags| Method {
        name: name.as_ptr(),
        function: Some(function),
        flags,
        doc: ptr::null(),
    };
    let end = Method { name: ptr::null(), function: None, flags: 0, doc: ptr::null() };
    let methods = Box::leak(Box::new([
        method(c"serve", serve_from_python, NO_ARGUMENTS),
        method(c"take", take_from_python, ONE_ARGUMENT),
        method(c"has_files", has_files_from_python, NO_ARGUMENTS),
        end,
    ]));
    let module = Box::leak(Box::new(Module {
        references: 1,
        kind: ptr::null_mut(),
        init: ptr::null(),
        index: 0,
        copy: ptr::null_mut(),
        name: c"forkpoint".as_ptr(),
        doc: ptr::null(),
        size: -1,
        methods: methods.as_ptr(),
        slots: ptr::null(),
        traverse: ptr::null(),
        clear: ptr::null(),
        free: ptr::null(),
    }));
    // SAFETY: `PyObject *PyModule_Create2(PyModuleDef *, int)`.
    let create: extern "C" fn(*mut Module, c_int) -> Object =
        unsafe { transmute(sys::own_function(c"PyModule_Create2")) };
    create(module, API_VERSION)
}
