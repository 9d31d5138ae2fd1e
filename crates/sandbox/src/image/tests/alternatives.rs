//! The alternatives system's choices, where the host's own is not in the image.

use std::fs;

use super::system::{System, at};

#[test]
fn a_choice_whose_program_stays_out_falls_to_the_best_that_is_in() {
    let system = System::new();
    system.package("busybox", "1", "", &["/usr/bin/fast"]);
    system.package("sed", "1", "", &["/usr/bin/slow", "/usr/bin/slower", "/usr/lib/slow.so"]);
    for program in ["usr/bin/fast", "usr/bin/slow", "usr/bin/slower"] {
        system.program(program);
    }
    system.file("usr/lib/slow.so", "library");
    system.file(
        "var/lib/dpkg/alternatives/tool",
        "auto\n/usr/bin/tool\ntool.so\n/usr/lib/tool.so\n\n/usr/bin/slower\n1\n\n/usr/bin/slow\n5\n/usr/lib/slow.so\n\
         /usr/bin/fast\n100\n\n\n",
    );
    system.link("usr/bin/tool", "/etc/alternatives/tool");
    system.link("usr/lib/tool.so", "/etc/alternatives/tool.so");
    system.link("etc/alternatives/tool", "/usr/bin/fast");
    let image = system.ensure();
    let manifest = image.manifest().unwrap();
    let link = |path: &str| at(&manifest, path).and_then(|entry| entry.target.as_deref());
    assert_eq!(link("usr/bin/tool"), Some("/etc/alternatives/tool"));
    assert_eq!(link("etc/alternatives/tool"), Some("/usr/bin/slow"));
    assert_eq!(link("etc/alternatives/tool.so"), Some("/usr/lib/slow.so"));
    assert_eq!(link("etc/alternatives/awk"), Some("/usr/bin/mawk"), "a choice that is in the image stays");

    fs::remove_file(system.root().join("etc/alternatives/tool")).unwrap();
    system.link("etc/alternatives/tool", "/usr/bin/slower");
    let rebuilt = super::super::Image::build(&system.cache(), &system.recipe(), &mut |_| {}).unwrap();
    let manifest = rebuilt.manifest().unwrap();
    assert_eq!(
        at(&manifest, "etc/alternatives/tool").and_then(|entry| entry.target.as_deref()),
        Some("/usr/bin/slower"),
        "the operator's own choice is kept where it can be"
    );
}
