//! The folders of a server in the jail: what it sees of the host's, and what of its own lives on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::asking::grant;
use super::keeping::execute;
use super::proxy::{Client, Place, enforced, text};
use super::server::{Server, signal, until};

const FOLDERS: &str = include_str!("../upstreams/folders.py");

/// Every name below a folder, with what it is.
fn names(top: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(top) else { return Vec::new() };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(names(&entry.path()));
        } else {
            all.push(format!("{}{}", entry.file_name().display(), if kind.is_file() { "" } else { "?" }));
        }
    }
    all.sort();
    all
}

#[test]
fn a_server_has_a_copy_of_one_folder_and_one_of_its_own_that_lives_on() {
    let place = Place::new(r#"{"version": "1", "default": "allow"}"#);
    place.put("folders.py", FOLDERS);
    let folder = place.file("shown");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("note"), "host").unwrap();
    place.put("outside", "secret of the host");
    symlink(place.file("outside"), folder.join("link")).unwrap();
    let (policy, data, script) = (place.text("policy.json"), place.data(), place.text("folders.py"));
    let shown = format!("{}:ro", folder.display());
    let start = || {
        let args =
            ["--policy", &policy, "--data-dir", &data, "--workspace", &shown, "--keep", "--with", &script];
        Client::start(&[&args[..], &["--", "python3", "folders.py"]].concat(), &[])
    };
    let mut client = start();
    let look = |client: &mut Client| -> Value {
        serde_json::from_str(text(&client.call("look", json!({})))).unwrap()
    };
    assert_eq!(look(&mut client), json!({"kept": {}, "workspace": {"note": "host"}}));
    let left = client.call("leave", json!({}));
    let run = left["_meta"]["dev.execgate/run"].as_str().unwrap().to_owned();
    let done: Value = serde_json::from_str(text(&left)).unwrap();
    // What the kernel lets it do inside is for nobody but itself; devices and other mounts it does not.
    assert!(done["device"].is_string() && done["rename"].is_string() && done["link"].is_null(), "{done}");
    client.close();
    let held = enforced(&data, &run)["sandbox"].clone();
    assert_eq!((&held["workspace"], &held["kept"]), (&json!("ro"), &json!("rw")));

    // The next process has what was a file with one name; of the host nothing has changed, and nothing is a link.
    let mut client = start();
    let kept = json!({"notes/b": "second", "tool": "#!/bin/sh"});
    assert_eq!(look(&mut client), json!({"kept": kept, "workspace": {"note": "host"}}));
    client.close();
    assert_eq!(fs::read_to_string(folder.join("note")).unwrap(), "host");
    let own = Path::new(&data).join("upstreams/folders/workspace");
    assert_eq!(names(&own), ["b", "lock", "tool"]);
}

#[test]
fn at_a_gateway_each_caller_has_a_folder_that_no_other_sees() {
    let place = Place::new(r#"{"version": "1", "default": "allow"}"#);
    place.put(
        "execgate.toml",
        &format!(
            "[[upstream]]\nname = \"folders\"\nprocesses = 1\nfirst = \"accept\"\nkeeps = true\n\
             command = [\"/usr/bin/python3\", \"-c\", '''{FOLDERS}''']\n"
        ),
    );
    let server =
        Server::start_with(place.0.path().as_path(), &["--config", &place.text("execgate.toml")], &[]);
    let (ann, bob) = (grant(&place, "ann"), grant(&place, "bob"));
    let mut last = 0;
    let mut kept = |key: &str, tool: &str| loop {
        last += 1;
        let told = execute(&server, Some(key), &format!("folders.{tool}"), &format!("n{last}"));
        // A key, and what was accepted, are known a moment after they were given.
        if told.status == 200 {
            let told = told.json();
            let text = told["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{told}"));
            break serde_json::from_str::<Value>(text).unwrap()["kept"].clone();
        }
        assert!([400, 401].contains(&told.status), "{}", told.json());
    };
    kept(&ann, "leave");
    // There is room for one process: each of these ends the one of the other caller.
    assert_eq!(kept(&bob, "look"), json!({}));
    assert_eq!(kept(&ann, "look"), json!({"notes/b": "second", "tool": "#!/bin/sh"}));
    assert_eq!(kept(&bob, "look"), json!({}));
    // A process that was lost with its sandbox is started again in the next one, on what was kept before.
    let helpers = server.helpers();
    helpers.iter().for_each(|helper| signal(*helper, Signal::KILL));
    until("the next helper", || {
        let next = server.helpers();
        let is_there = next.len() == 1 && next != helpers && server.get("/ready").status == 200;
        is_there.then_some(())
    });
    assert_eq!(kept(&ann, "look"), json!({"notes/b": "second", "tool": "#!/bin/sh"}));
}
