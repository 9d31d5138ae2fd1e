//! The same keys and signatures through OpenSSL, which we did not write. Passes over machines that have none.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use execgate_receipt::{SigningKey, VerifyingKey, pae};
use tempfile::TempDir;

use super::fixture::{Run, key};

/// Runs OpenSSL in a directory; nothing where there is no OpenSSL.
#[expect(clippy::disallowed_methods, reason = "a cross check needs the other tool")]
fn openssl(directory: &Path, arguments: &[&str]) -> Option<Output> {
    Command::new("openssl").args(arguments).current_dir(directory).output().ok()
}

const VERIFY: [&str; 9] =
    ["pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem", "-rawin", "-in", "pae.bin", "-sigfile"];

#[test]
fn openssl_verifies_our_signature_and_no_other() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let sealed = Run::default().seal();
    let signature = STANDARD.decode(&sealed.envelope().signatures[0].sig).unwrap();
    fs::write(path.join("pub.pem"), key().verifying_key().to_spki_pem().unwrap()).unwrap();
    fs::write(path.join("pae.bin"), pae(&sealed.envelope().payload_type, sealed.payload())).unwrap();
    fs::write(path.join("good.sig"), &signature).unwrap();
    let mut bad = signature;
    bad[10] ^= 1;
    fs::write(path.join("bad.sig"), bad).unwrap();

    let Some(good) = openssl(path, &[&VERIFY[..], &["good.sig"]].concat()) else { return };
    assert!(good.status.success(), "{good:?}");
    assert!(!openssl(path, &[&VERIFY[..], &["bad.sig"]].concat()).unwrap().status.success());
}

#[test]
fn openssl_reads_our_private_key_and_derives_the_same_public_key() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    fs::write(path.join("key.pem"), key().to_pkcs8_pem().unwrap().expose()).unwrap();
    let Some(public) = openssl(path, &["pkey", "-in", "key.pem", "-pubout"]) else { return };
    assert!(public.status.success(), "{public:?}");
    let ours = key().verifying_key().to_spki_pem().unwrap();
    assert_eq!(String::from_utf8(public.stdout).unwrap(), ours);
    let again = openssl(path, &["pkey", "-in", "key.pem"]).unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap(), key().to_pkcs8_pem().unwrap().expose());
}

#[test]
fn a_key_that_openssl_made_signs_what_openssl_verifies() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let made = ["genpkey", "-algorithm", "ed25519", "-out", "key.pem"];
    let Some(made) = openssl(path, &made) else { return };
    assert!(made.status.success(), "{made:?}");
    let public = openssl(path, &["pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem"]).unwrap();
    assert!(public.status.success(), "{public:?}");
    let key = SigningKey::from_pkcs8_pem(&fs::read_to_string(path.join("key.pem")).unwrap()).unwrap();
    let public = VerifyingKey::from_spki_pem(&fs::read_to_string(path.join("pub.pem")).unwrap()).unwrap();
    assert_eq!(key.verifying_key(), public);
}
