//! What never goes into an image, whatever a package or a prepared tree holds.
//!
//! Sole judge of paths and of start-up files. Every change here needs a second reader: a guest can read everything
//! that passes. Judges canonical paths (below the root, no leading slash, no symbolic link on the way) only.

/// What a rule says about one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes in.
    Keep,
    /// It stays out, as expected of its kind.
    Drop,
    /// It stays out, and the manifest says why.
    DropAndSay(&'static str),
}

/// Top directories that belong to a machine, a person or the jail itself.
const FOREIGN_TOPS: &[&str] = &[
    "boot",
    "dev",
    "etc",
    "home",
    "lost+found",
    "media",
    "mnt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "var",
];

/// Parts of `/etc` that hold public tables only and that programs need; everything else there is generated.
const ETC_KEPT: &[&str] = &["etc/R", "etc/fonts", "etc/magic", "etc/matplotlibrc", "etc/mime.types"];

/// Trees that a guest has no use for.
const USELESS_TREES: &[&str] = &[
    "usr/bin/corepack",
    "usr/bin/npm",
    "usr/bin/npx",
    "usr/games",
    "usr/include",
    "usr/lib/apt",
    "usr/lib/binfmt.d",
    "usr/lib/debug",
    "usr/lib/dpkg",
    "usr/lib/init",
    "usr/lib/locale",
    "usr/lib/modprobe.d",
    "usr/lib/modules",
    // a guest has nothing to install from
    "usr/lib/node_modules/corepack",
    "usr/lib/node_modules/npm",
    "usr/lib/systemd",
    "usr/lib/sysusers.d",
    "usr/lib/tmpfiles.d",
    "usr/lib/udev",
    "usr/local/include",
    "usr/local/lib/node_modules/corepack",
    "usr/local/lib/node_modules/npm",
    "usr/local/share/man",
    "usr/sbin",
    "usr/share/R/doc",
    "usr/share/R/include",
    "usr/share/apport",
    "usr/share/applications",
    "usr/share/bash-completion",
    "usr/share/binfmts",
    "usr/share/bug",
    "usr/share/common-licenses",
    "usr/share/dbus-1",
    "usr/share/debianutils",
    "usr/share/debconf",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/fish",
    "usr/share/gdb",
    "usr/share/gtk-doc",
    "usr/share/help",
    "usr/share/i18n",
    "usr/share/icons",
    "usr/share/info",
    "usr/share/initramfs-tools",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/menu",
    "usr/share/metainfo",
    "usr/share/pam",
    "usr/share/pam-configs",
    "usr/share/nodejs/npm",
    "usr/share/pixmaps",
    "usr/share/pkgconfig",
    "usr/share/polkit-1",
    "usr/share/python3",
    "usr/share/zoneinfo/posix",
    "usr/share/zoneinfo/right",
    "usr/share/zsh",
    "usr/src",
];

/// Trees inside the useless ones that go in all the same: the one locale of an image.
const KEPT_TREES: &[&str] = &["usr/lib/locale/C.utf8", "usr/lib/locale/C.UTF-8"];

/// Endings of files that only a compiler or linker reads.
const BUILD_TIME_ENDINGS: &[&str] = &[".a", ".la", ".pc", ".o"];

/// Names that programs keep credentials or a person's settings under, anywhere in a tree.
const CREDENTIAL_NAMES: &[&str] = &[
    ".aws",
    ".azure",
    ".bash_history",
    ".docker",
    ".env",
    ".git",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".python_history",
    ".ssh",
    "Renviron.site",
    "Rprofile.site",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_rsa",
    "npmrc",
    "pip.conf",
];

/// Modules that Python runs by itself at every start, in whatever form they come.
const PYTHON_START_UP: &[&str] = &["sitecustomize", "usercustomize"];

/// Why such a module stays out.
const RUNS_BY_ITSELF: Verdict = Verdict::DropAndSay("runs by itself at every start of Python");

/// Judges a canonical path; the answer for a directory holds for everything in it.
pub(super) fn judge(path: &str) -> Verdict {
    let is_kept = KEPT_TREES.iter().chain(ETC_KEPT).any(|tree| is_within(path, tree));
    let top = path.split('/').next().unwrap_or_default();
    if !is_kept && (FOREIGN_TOPS.contains(&top) || USELESS_TREES.iter().any(|tree| is_within(path, tree))) {
        return Verdict::Drop;
    }
    if path.split('/').any(|name| CREDENTIAL_NAMES.contains(&name)) {
        return Verdict::DropAndSay("may hold credentials or a person's settings");
    }
    // as a package; as a file it depends on the kind, see `judge_file_name` and `judge_link`
    if path.split('/').any(|name| PYTHON_START_UP.contains(&name)) {
        return RUNS_BY_ITSELF;
    }
    if is_kept {
        return Verdict::Keep;
    }
    if BUILD_TIME_ENDINGS.iter().any(|ending| path.ends_with(ending)) {
        return Verdict::Drop;
    }
    if path.bytes().any(|byte| byte.is_ascii_control()) {
        return Verdict::DropAndSay("has a control character in its name");
    }
    Verdict::Keep
}

/// Judges a directory that a walk is about to enter: one that holds a kept tree is entered even where it is dropped.
pub(super) fn may_hold_kept(path: &str) -> bool {
    KEPT_TREES.iter().chain(ETC_KEPT).any(|tree| is_within(tree, path))
}

/// Judges a *regular file* by its name: Python's start-up modules stay out, as source, compiled or native.
pub(super) fn judge_file_name(path: &str) -> Verdict {
    if is_start_up_module(path) { RUNS_BY_ITSELF } else { Verdict::Keep }
}

/// Judges a *symbolic link*: Debian's own start-up link into `/etc` stays, since the file there is generated.
pub(super) fn judge_link(path: &str, target: &str) -> Verdict {
    let generated = target.starts_with("/etc/python") && target.ends_with("/sitecustomize.py");
    if is_start_up_module(path) && !generated { RUNS_BY_ITSELF } else { Verdict::Keep }
}

fn is_start_up_module(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    // what lies in `__pycache__` runs only beside its source
    name.split('.').next().is_some_and(|stem| PYTHON_START_UP.contains(&stem))
        && !path.contains("/__pycache__/")
}

/// Says that a path is one of Python's path files, whose content [`runs_code`] must be asked about.
pub(super) fn is_path_file(path: &str) -> bool {
    path.ends_with(".pth")
}

/// Says that a `.pth` file has a line that Python would execute at every start.
///
/// Stricter than `site.py`, which looks for `import ` or `import<tab>` at the very start of a line.
pub(super) fn runs_code(content: &[u8]) -> bool {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    content
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .any(|line| line.trim_ascii_start().starts_with(b"import"))
}

/// Says that `path` is `tree` or lies in it.
fn is_within(path: &str, tree: &str) -> bool {
    path.strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_libraries_and_the_one_locale_stay() {
        for path in [
            "usr/bin/bash",
            "usr/lib/python3.11/json/__init__.py",
            "usr/lib/x86_64-linux-gnu/libc.so.6",
            "usr/lib/locale/C.utf8/LC_CTYPE",
            "usr/share/zoneinfo/Europe/Paris",
            "usr/lib/python3.11/lib2to3/Grammar.txt",
            "etc/R/Renviron",
            "lib64",
            "usr/lib/R/site-library/pkgconfig/DESCRIPTION",
            "usr/lib/node_modules/npm-like/index.js",
        ] {
            assert_eq!(judge(path), Verdict::Keep, "{path}");
        }
    }

    #[test]
    fn documents_locales_and_build_time_files_go() {
        for path in [
            "usr/share/doc/bash/copyright",
            "usr/share/man",
            "usr/share/locale/de/LC_MESSAGES/bash.mo",
            "usr/lib/locale/fr_FR.utf8/LC_TIME",
            "usr/lib/x86_64-linux-gnu/libc.a",
            "usr/lib/x86_64-linux-gnu/pkgconfig/zlib.pc",
            "usr/include/python3.11/Python.h",
            "usr/lib/node_modules/npm/bin/npm-cli.js",
            "usr/share/R/include/R.h",
            "etc/shadow",
            "etc/Rogue",
            "root/.bashrc",
            "home/somebody/file",
            "var/lib/dpkg/status",
        ] {
            assert_eq!(judge(path), Verdict::Drop, "{path}");
        }
    }

    #[test]
    fn credentials_go_wherever_they_lie() {
        for path in [
            "usr/lib/node_modules/tool/.npmrc",
            "opt/app/.ssh/id_rsa",
            "usr/share/pip.conf",
            "etc/R/Renviron.site",
        ] {
            assert!(matches!(judge(path), Verdict::DropAndSay(_)), "{path}");
        }
    }

    #[test]
    fn a_path_file_that_imports_is_code_and_one_that_names_directories_is_not() {
        assert!(runs_code(b"import os; os.system('x')\n"));
        assert!(runs_code(b"# comment\n\xef\n  import\tos"));
        assert!(runs_code(b"\xef\xbb\xbfimport os"));
        assert!(runs_code(b"a\rimport os"));
        assert!(!runs_code(b"/usr/lib/pymodules\nimp\n# import os\n"));
        assert!(!runs_code(b""));
    }

    #[test]
    fn a_file_that_python_runs_at_every_start_goes() {
        for name in ["sitecustomize.py", "sitecustomize.pyc", "usercustomize.cpython-311-x86_64-linux-gnu.so"]
        {
            let path = format!("usr/lib/python3/dist-packages/{name}");
            assert_eq!(judge_file_name(&path), RUNS_BY_ITSELF, "{path}");
            assert_eq!(judge_link(&path, "other.py"), RUNS_BY_ITSELF, "{path}");
        }
        assert_eq!(judge("usr/lib/python3/dist-packages/sitecustomize/__init__.py"), RUNS_BY_ITSELF);
        assert_eq!(judge_file_name("usr/lib/python3.11/site.py"), Verdict::Keep);
        let debian = "usr/lib/python3.11/sitecustomize.py";
        assert_eq!(judge_link(debian, "/etc/python3.11/sitecustomize.py"), Verdict::Keep);
    }
}
