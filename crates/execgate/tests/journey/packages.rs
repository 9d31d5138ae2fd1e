//! Packages in an image, from folders and without a registry, by the real pip and npm; and which images go.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use execgate_sandbox::image::{Base, Image, PackageRecipe, Recipe};
use serde_json::{Value, json};

use super::server::{execgate, run};

/// Makes a wheel and an npm package in the folder where it runs. The wheel means harm.
const ARCHIVES: &str = r#"
import io, json, tarfile, zipfile
files = {
    "tiny/__init__.py": "def answer():\n    return 42\n",
    "tiny/setuid": "x",
    "evil.pth": "import os; os.environ['EVIL'] = '1'\n",
    "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
files["tiny-1.0.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files) + "/etc/passwd,,\n"
with zipfile.ZipFile("tiny-1.0-py3-none-any.whl", "w") as wheel:
    for path, text in files.items():
        entry = zipfile.ZipInfo(path)
        entry.external_attr = (0o104755 if path.endswith("setuid") else 0o100644) << 16
        wheel.writestr(entry, text)
about = json.dumps({"name": "small", "version": "2.0.0", "scripts": {"install": "exit 7"}})
with tarfile.open("small-2.0.0.tgz", "w:gz") as tar:
    for path, text in {"package.json": about, "index.js": "module.exports = 43;\n"}.items():
        entry = tarfile.TarInfo(f"package/{path}")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text.encode()))
"#;

fn make_archives(folder: &Path) {
    #[expect(clippy::disallowed_methods, reason = "makes the archives that the test needs")]
    let made = Command::new("/usr/bin/python3").current_dir(folder).args(["-c", ARCHIVES]).status().unwrap();
    assert!(made.success());
}

/// A tree to begin with, which is copied in a fraction of the time of all that this host has.
fn small_tree(cache: &Path) -> PathBuf {
    let wanted = ["base-files", "bash", "coreutils", "libc-bin", "nodejs", "python3"].map(str::to_owned);
    let recipe = PackageRecipe { wanted: wanted.to_vec(), ..PackageRecipe::default() };
    Image::build(cache, &Recipe::of(Base::Packages(recipe)), &mut |_| {}).unwrap().root
}

/// What a command that prints JSON says.
fn told(args: &[&str]) -> Value {
    let output = run(args, "");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{args:?}\n{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{args:?}\n{}", text(&output.stdout)))
}

#[test]
fn packages_of_folders_are_there_for_guests_and_an_image_in_use_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    make_archives(folder.path());
    let archives = folder.path().to_str().unwrap();
    let cache = folder.path().join("images");
    let cache = cache.to_str().unwrap();
    let base = small_tree(&folder.path().join("bases"));
    let args = ["image", "build", "--json", "--image-cache", cache, "--from-dir", base.to_str().unwrap()];
    let packages =
        ["--python", "tiny", "--wheels", archives, "--node", "small@2.0.0", "--node-from", archives];
    let built = told(&[&args[..], &packages].concat());
    let digest = built["summary"]["digest"].as_str().unwrap();
    let added: Vec<_> =
        built["summary"]["added"].as_array().unwrap().iter().map(|added| &added["name"]).collect();
    assert_eq!(added, ["tiny", "small"]);

    let jail = ["run", "--json", "--image", digest, "--image-cache", cache];
    let python = "import os, tiny; f = tiny.__file__; s = os.stat(os.path.dirname(f) + '/setuid')\n\
                  [tiny.answer(), f, os.path.exists(tiny.__cached__), oct(s.st_mode & 0o7777), 'EVIL' in os.environ]";
    let ran = told(&[&jail[..], &["-e", python]].concat());
    let place = "/usr/local/lib/python3.";
    let value = ran["result"].as_str().unwrap_or_else(|| panic!("{ran}"));
    assert!(value.starts_with(&format!("[42, '{place}")), "{value}");
    assert!(value.ends_with("/dist-packages/tiny/__init__.py', True, '0o755', False]"), "{value}");
    let bash = "node -e 'console.log(require(\"small\"))' && ls /node_modules";
    let ran = told(&[&jail[..], &["-l", "bash", "-e", bash]].concat());
    assert_eq!(ran["stdout"], "43\nsmall\n", "{ran}");

    let code = "import sys; print('ready', flush=True); sys.stdin.read()";
    let mut guest = execgate()
        .args(["run", "--image", digest, "--image-cache", cache, "-e", code])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(guest.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let prune = ["image", "prune", "--keep", "0", "--json", "--image-cache", cache];
    assert_eq!(told(&["image", "list", "--json", "--image-cache", cache])[0]["in_use"], true);
    assert_eq!(told(&prune)["in_use"], json!([digest]));
    drop(guest.stdin.take());
    assert!(guest.wait().unwrap().success());
    assert_eq!(told(&prune)["removed"], json!([digest]));
    let left: Vec<_> = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_password_of_a_registry_is_in_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("images");
    // nothing listens there
    let registry = "http://user:SECRET@127.0.0.1:9/";
    for (package, answer) in
        [(["--python", "tiny"], "pip did not reach"), (["--node", "small"], "npm did not give")]
    {
        let output = execgate()
            .args(["image", "build", "--image-cache"])
            .arg(&cache)
            .args(package)
            .envs([("PIP_INDEX_URL", registry), ("PIP_RETRIES", "1")])
            .envs([("npm_config_registry", registry), ("npm_config_fetch_retries", "0")])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(answer) && !said.contains("SECRET"), "{said}");
    }
    let left: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}
