//! What Python imports of this library: `serve`, which returns in a resident only, `take`, which gives it its run, and
//! `has_files`, which says whether the run has any.
//!
//! Python's own functions are looked up when they are called, because the library is loaded by other interpreters too.
//! Its structures are those of the stable ABI (PEP 384), the same in every version that has it.
#![expect(unsafe_code, reason = "an extension module is made of Python's own pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::mem::transmute;
use std::ptr;

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

/// Calls one that takes nothing and gives nothing.
fn call(name: &CStr) {
    // SAFETY: only called with the names of functions of this type.
    let function: extern "C" fn() = unsafe { transmute(sys::own_function(name)) };
    function();
}

const HOOKS: Hooks = Hooks {
    before: || call(c"PyOS_BeforeFork"),
    after: || call(c"PyOS_AfterFork_Parent"),
    resident: || call(c"PyOS_AfterFork_Child"),
};

/// Python's own lock is free while a session waits, so that the code's threads go on.
fn wait(wait: &mut dyn FnMut()) {
    // SAFETY: `PyThreadState *PyEval_SaveThread(void)`.
    let free: extern "C" fn() -> Object = unsafe { transmute(sys::own_function(c"PyEval_SaveThread")) };
    // SAFETY: `void PyEval_RestoreThread(PyThreadState *)`.
    let take: extern "C" fn(Object) = unsafe { transmute(sys::own_function(c"PyEval_RestoreThread")) };
    let thread = free();
    wait();
    take(thread);
}

fn before() -> io::Result<()> {
    (HOOKS.before)();
    Ok(())
}

const AROUND: Around =
    Around { wait, copies: Some(Copies { before, after: HOOKS.after, copied: |_, _| (HOOKS.resident)() }) };

/// Python's own functions that make a list, looked up when there is time.
struct Lists {
    new: extern "C" fn(isize) -> Object,
    bytes: extern "C" fn(*const u8, isize) -> Object,
    append: extern "C" fn(Object, Object) -> c_int,
    release: extern "C" fn(Object),
}

fn lists() -> Lists {
    // SAFETY: `PyObject *PyList_New(Py_ssize_t)`.
    let new: extern "C" fn(isize) -> Object = unsafe { transmute(sys::own_function(c"PyList_New")) };
    // SAFETY: `PyObject *PyBytes_FromStringAndSize(const char *, Py_ssize_t)`.
    let bytes: extern "C" fn(*const u8, isize) -> Object =
        unsafe { transmute(sys::own_function(c"PyBytes_FromStringAndSize")) };
    // SAFETY: `int PyList_Append(PyObject *, PyObject *)`.
    let append: extern "C" fn(Object, Object) -> c_int =
        unsafe { transmute(sys::own_function(c"PyList_Append")) };
    // SAFETY: `void Py_DecRef(PyObject *)`.
    let release: extern "C" fn(Object) = unsafe { transmute(sys::own_function(c"Py_DecRef")) };
    Lists { new, bytes, append, release }
}

impl Lists {
    /// A new list with these.
    fn list(&self, items: &[Vec<u8>]) -> Object {
        let list = (self.new)(0);
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

/// `serve() -> int`: how many of its descriptors the guest may inherit; negative where its run waits for it already.
extern "C" fn serve_from_python(_module: Object, _arguments: Object) -> Object {
    let Ok(seed) = warm_seed() else { sys::exit_now(1) };
    let resident = serve(Box::leak(Box::new(seed)), &HOOKS);
    let inherited = i64::from(resident.inherited);
    // SAFETY: `PyObject *PyLong_FromLong(long)`.
    let new: extern "C" fn(i64) -> Object = unsafe { transmute(sys::own_function(c"PyLong_FromLong")) };
    new(if resident.is_awaited { -inherited } else { inherited })
}

/// `take(inherited) -> list[bytes]`: the arguments. In a session the first list is empty, and what follows has the
/// numbers of the descriptors before them.
extern "C" fn take_from_python(_module: Object, inherited: Object) -> Object {
    // SAFETY: `long PyLong_AsLong(PyObject *)`.
    let number: extern "C" fn(Object) -> i64 = unsafe { transmute(sys::own_function(c"PyLong_AsLong")) };
    let lists = lists();
    lists.list(&take_request(usize::try_from(number(inherited)).unwrap_or(0), &AROUND))
}

/// `has_files() -> bool`: whether any were put in place by now.
extern "C" fn has_files_from_python(_module: Object, _arguments: Object) -> Object {
    // SAFETY: `PyObject *PyBool_FromLong(long)`.
    let new: extern "C" fn(i64) -> Object = unsafe { transmute(sys::own_function(c"PyBool_FromLong")) };
    new(i64::from(has_files()))
}

/// What Python calls when it imports `forkpoint`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn PyInit_forkpoint() -> Object {
    /// `METH_O`.
    const ONE_ARGUMENT: c_int = 8;
    die_of_panics(Tell::Nobody);
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
