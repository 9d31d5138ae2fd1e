//! Everything in an image that is generated and not copied: `/etc`, the mount points and a few names.
//!
//! Nothing here may depend on the host's own settings: a guest learns neither its name nor its users, resolvers,
//! proxies or private certificate authorities.

use std::fmt::Write;
use std::io;
use std::ops::RangeInclusive;

use super::error::ImageError;
use super::plan::{Item, Plan};
use super::source::{BASE, Node, SourceTree, join};

/// Directories that the jail mounts over or fills, and that are empty in the image.
const MOUNT_POINTS: &[&str] = &[".stage", "dev", "home/user", "opt", "proc", "run", "tmp"];

/// Generated files and their content.
const FILES: &[(&str, &str)] = &[
    ("etc/bash.bashrc", ""),
    ("etc/host.conf", "multi on\n"),
    ("etc/hostname", "sandbox\n"),
    ("etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
    ("etc/ld.so.conf", ""),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\n\
         services: files\nethers: files\nrpc: files\n",
    ),
    ("etc/profile", ""),
    ("etc/resolv.conf", ""),
    ("etc/shells", "/bin/sh\n/bin/bash\n"),
    ("etc/ssl/openssl.cnf", ""),
    ("etc/timezone", "Etc/UTC\n"),
];

/// The guests' user and group ids: each slot of the jail has one of its own, and all of them are called `user`.
const GUEST_IDS: RangeInclusive<u32> = 1000..=1255;

/// Names that scripts expect, and what gives them where it is in the image; the first that fits wins.
const NAMES: &[(&str, &str)] = &[
    ("usr/bin/sh", "dash"),
    ("usr/bin/sh", "bash"),
    ("bin/sh", "dash"),
    ("bin/sh", "bash"),
    ("usr/bin/python", "python3"),
    // before the other, which may be a link of the alternatives to a program that stayed out
    ("usr/bin/node", "../local/bin/node"),
    ("usr/bin/node", "nodejs"),
];

/// The certificate bundle of the image.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Adds all that is generated.
pub(super) fn generate(plan: &mut Plan, tree: &SourceTree) -> Result<(), ImageError> {
    for path in MOUNT_POINTS {
        plan.make(path, Item::Directory);
    }
    plan.make("var/tmp", Item::Link("../tmp".to_owned()));
    for (path, content) in FILES {
        plan.make(path, Item::Made(content.as_bytes().to_vec()));
    }
    let (users, groups) = accounts();
    plan.make("etc/passwd", Item::Made(users.into_bytes()));
    plan.make("etc/group", Item::Made(groups.into_bytes()));
    for (path, program) in NAMES {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        if plan.get(path).is_none() && is_there(plan, directory, program) {
            plan.make(path, Item::Link((*program).to_owned()));
        }
    }
    if plan.get("usr/share/zoneinfo/Etc/UTC").is_some() {
        plan.make("etc/localtime", Item::Link("/usr/share/zoneinfo/Etc/UTC".to_owned()));
    }
    add_release(plan, tree)?;
    add_empty_start_up_files(plan);
    add_r_settings(plan, tree)?;
    add_certificates(plan, tree)
}

/// Whether what a name leads to is there, where `..` means the directory above the name's own.
fn is_there(plan: &Plan, directory: &str, program: &str) -> bool {
    let above = directory.rsplit_once('/').map_or("", |(above, _)| above);
    let place = match program.strip_prefix("../") {
        Some(program) => join(above, program),
        None => join(directory, program),
    };
    plan.get(&place).is_some()
}

/// The tables of users and groups.
fn accounts() -> (String, String) {
    let (mut users, mut groups) =
        ("root:x:0:0:root:/:/usr/sbin/nologin\n".to_owned(), "root:x:0:\n".to_owned());
    for id in GUEST_IDS {
        // writing to a string cannot fail
        writeln!(users, "user:x:{id}:{id}:user:/home/user:/bin/bash").unwrap_or_default();
        writeln!(groups, "user:x:{id}:").unwrap_or_default();
    }
    users.push_str("nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
    groups.push_str("nogroup:x:65534:\n");
    (users, groups)
}

/// The distribution's name and version, which programs print and choose by.
fn add_release(plan: &mut Plan, tree: &SourceTree) -> Result<(), ImageError> {
    const RELEASE: &str = "etc/os-release";
    if plan.get("usr/lib/os-release").is_some() {
        plan.make(RELEASE, Item::Link("../usr/lib/os-release".to_owned()));
    } else if let Node::File { .. } = tree.look(RELEASE)? {
        let content = read(tree, RELEASE)?;
        plan.make(RELEASE, Item::Made(content));
    }
    Ok(())
}

/// Debian makes R's settings at installation, from a copy that the package ships; the guest's are that copy.
fn add_r_settings(plan: &mut Plan, tree: &SourceTree) -> Result<(), ImageError> {
    const SETTINGS: &str = "etc/R/Renviron";
    let shipped = plan.get("usr/lib/R/etc/Renviron.ucf");
    if let (None, Some(Item::Copy { tree: BASE, from, .. })) = (plan.get(SETTINGS), shipped) {
        let content = read(tree, from)?;
        plan.make(SETTINGS, Item::Made(content));
    }
    Ok(())
}

/// Debian links `sitecustomize.py` to a file in `/etc` that an operator may fill; the guest's is empty.
fn add_empty_start_up_files(plan: &mut Plan) {
    let is_start_up = |path: &str| path.ends_with("/sitecustomize.py");
    let into_etc = |item: &Item| match item {
        Item::Link(target) => target.strip_prefix("/etc/").map(|rest| format!("etc/{rest}")),
        Item::Directory | Item::Copy { .. } | Item::Made(_) => None,
    };
    let links = plan.items().iter().filter(|(path, _)| is_start_up(path));
    let files: Vec<String> =
        links.filter_map(|(_, item)| into_etc(item)).filter(|path| is_start_up(path)).collect();
    for path in files {
        plan.make(&path, Item::Made(Vec::new()));
    }
}

/// One bundle of the certificate authorities that the package ships, where OpenSSL and everybody else look.
///
/// Made from the package's files and not copied from `/etc/ssl`, where an operator's own authorities are.
fn add_certificates(plan: &mut Plan, tree: &SourceTree) -> Result<(), ImageError> {
    let shipped = |path: &str| path.starts_with("usr/share/ca-certificates/") && path.ends_with(".crt");
    let mut bundle = Vec::new();
    for (path, item) in plan.items() {
        if let (true, Item::Copy { tree: BASE, from, .. }) = (shipped(path), item) {
            bundle.extend(read(tree, from)?);
            if bundle.last() != Some(&b'\n') {
                bundle.push(b'\n');
            }
        }
    }
    if bundle.is_empty() && plan.get(BUNDLE).is_none() {
        return Ok(());
    }
    plan.make(BUNDLE, Item::Made(bundle));
    if plan.get("usr/lib/ssl").is_some() {
        plan.make("usr/lib/ssl/cert.pem", Item::Link(format!("/{BUNDLE}")));
    }
    Ok(())
}

fn read(tree: &SourceTree, path: &str) -> Result<Vec<u8>, ImageError> {
    tree.read(path).map_err(|source: io::Error| ImageError::ReadSource { path: path.to_owned(), source })
}
