//! A real image of this host, and programs that really start in it.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use tempfile::TempDir;

use super::super::{Image, Origin, Reads, Recipe};

/// Runs a program in a tree as an unprivileged user with an empty environment.
#[expect(clippy::disallowed_methods, reason = "proves that the image works, which no library call can")]
fn run_in(root: &Path, arguments: &[&str]) -> Output {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg("--userspec=65534:65534");
        command
    } else {
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--map-root-user", "/usr/sbin/chroot"]);
        command
    };
    // here the tree is writable, and whoever owns it would leave compiled files in it
    command.arg(root).args(arguments).env_clear().env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
}

fn prints(root: &Path, arguments: &[&str]) -> String {
    let output = run_in(root, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&output.stderr), "", "{arguments:?}");
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    text(&output.stdout)
}

#[test]
fn an_image_of_this_host_runs_python_and_bash_and_is_found_again_at_once() {
    let top = TempDir::new().unwrap();
    let cache = top.path().join("images");
    let started = Instant::now();
    let image = Image::ensure(&cache, &Recipe::host(), &mut |_| {}).unwrap();
    let built_in = started.elapsed();
    assert_eq!(image.origin, Origin::Built);
    let started = Instant::now();
    assert_eq!(Image::ensure(&cache, &Recipe::host(), &mut |_| {}).unwrap().origin, Origin::Found);
    let found_in = started.elapsed();

    let python = "import json,ssl,sqlite3,ctypes,decimal,lzma,bz2,uuid,zoneinfo; print(1)";
    assert_eq!(prints(&image.root, &["/usr/bin/python3", "-c", python]), "1\n");
    let compiled = "import json.decoder as m,os,struct; s=os.stat(m.__file__); h=open(m.__cached__,'rb').read(16); \
                    print(struct.unpack('<III',h[4:])==(0,int(s.st_mtime),s.st_size))";
    assert_eq!(prints(&image.root, &["/usr/bin/python3", "-c", compiled]), "True\n");
    let authorities = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'] > 50)";
    assert_eq!(prints(&image.root, &["/usr/bin/python3", "-c", authorities]), "True\n");
    let script =
        "echo $((6*7)) | sed s/4/x/ | awk '{print $1}'; echo a | sh -c 'cat' | tr a b; date -d @0 +%Z";
    assert_eq!(prints(&image.root, &["/bin/bash", "-c", script]), "x2\nb\nUTC\n");
    assert_eq!(prints(&image.root, &["/bin/bash", "-c", "LC_ALL=C.UTF-8 locale charmap"]), "UTF-8\n");

    let started = Instant::now();
    let found = image.verify(Reads::Cached).unwrap();
    assert!(found.is_intact(), "{:?}", found.differences);
    let verified_in = started.elapsed();
    assert!(image.verify(Reads::Direct).unwrap().is_intact());
    let summary = image.summary().unwrap();
    println!("{}", serde_json::to_string_pretty(&summary).unwrap());
    println!("built in {built_in:?}, found in {found_in:?}, verified in {verified_in:?}");
}

#[test]
fn nothing_in_an_image_of_this_host_names_a_person_or_carries_a_special_bit() {
    let top = TempDir::new().unwrap();
    let image = Image::ensure(&top.path().join("images"), &Recipe::host(), &mut |_| {}).unwrap();
    let manifest = image.manifest().unwrap();
    for entry in &manifest.entries {
        assert!([0, 0o644, 0o755].contains(&entry.mode), "{entry:?}");
        let top = entry.path.split('/').next().unwrap();
        let known = ["usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "var", "home", "opt"];
        let mounted = ["dev", "proc", "run", "tmp", ".stage"].contains(&&*entry.path);
        assert!(mounted || known.contains(&top), "{entry:?}");
    }
    let has = |path: &str| manifest.entries.iter().any(|entry| entry.path == path);
    for useless in
        ["usr/include", "usr/lib/node_modules/npm", "usr/bin/npm", "usr/share/R/include", "usr/bin/gcc"]
    {
        assert!(!has(useless), "{useless}");
    }
    // what the host has of the languages, the image has
    for interpreter in ["usr/bin/python3", "usr/bin/bash", "usr/bin/node", "usr/bin/Rscript"] {
        assert_eq!(has(interpreter), Path::new("/").join(interpreter).exists(), "{interpreter}");
    }
    let home: Vec<_> = manifest.entries.iter().filter(|entry| entry.path.starts_with("home")).collect();
    assert_eq!(home.len(), 2);
}
