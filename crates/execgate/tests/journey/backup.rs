//! A copy of a record that is served, and a gateway that starts from it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use serde_json::{Value, json};

use super::server::{Data, Server, run};

#[test]
fn a_copy_that_was_made_beside_a_gateway_serves_what_was_answered() {
    let (data, restored) = (Data::new(), Data::new());
    let folder = data.path();
    let server = Server::start(&folder);
    let first = server.execute("echo", json!({"text": "a"}), "a");
    // A place of the owner's of the data directory, as whom the command runs.
    let copy = folder.join("copy.db");
    let backup = || {
        let args = ["backup", copy.to_str().unwrap(), "--data-dir", folder.to_str().unwrap()];
        run(&args, "")
    };
    let made = backup();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(backup().status.code(), Some(2), "a file that is there is left alone");
    assert_eq!(server.execute("echo", json!({"text": "b"}), "b").status, 200);

    let url = format!("sqlite://{}", copy.display());
    let fsck = run(&["fsck", "--json", "--data-dir", folder.to_str().unwrap(), "--database", &url], "");
    assert_eq!(fsck.status.code(), Some(0), "{}", String::from_utf8_lossy(&fsck.stdout));
    let told: Value = serde_json::from_slice(&fsck.stdout).unwrap();
    assert_eq!(told["runs"], 1);
    server.kill();

    // As docs/OPERATIONS.md says.
    let target = restored.path();
    fs::create_dir_all(target.join("keys")).unwrap();
    fs::copy(&copy, target.join("execgate.db")).unwrap();
    let owner = Some(fs::metadata(&folder).unwrap().uid());
    for key in fs::read_dir(folder.join("keys")).unwrap().map(Result::unwrap) {
        let path = target.join("keys").join(key.file_name());
        fs::copy(key.path(), &path).unwrap();
        chown(path, owner, owner).unwrap();
    }
    for path in ["", "execgate.db", "keys"] {
        chown(target.join(path), owner, owner).unwrap();
    }
    let server = Server::start(&target);
    let refused = server.execute("echo", json!({"text": "b"}), "b");
    assert_eq!((refused.status, &refused.json()["rule"]), (503, &json!("log")), "it has run already");
    let named = run(&["log", "new-origin", "--data-dir", target.to_str().unwrap()], "");
    assert!(named.status.success(), "{}", String::from_utf8_lossy(&named.stderr));
    let again = server.execute("echo", json!({"text": "a"}), "a");
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert!(again.head.contains("execgate-replayed: true"), "{}", again.head);
    let fsck = run(&["fsck", "--data-dir", target.to_str().unwrap()], "");
    assert_eq!(fsck.status.code(), Some(0), "{}", String::from_utf8_lossy(&fsck.stdout));
}
