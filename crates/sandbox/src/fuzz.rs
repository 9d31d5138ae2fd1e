//! What holds of everything that this crate reads, whatever the bytes. Fuzz targets and property tests call it.
//! What only its own folder can see is checked there and passed on here.

use std::fmt::Debug;
use std::io;
use std::os::fd::AsFd as _;
use std::str;

use execgate_forkpoint::wire::{
    FromProxy, FromResident, FromStem, Message, Report, Sheet, ToProxy, ToResident, ToStem, text_memfd,
    text_of,
};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::files::{Collect, CollectedFile, NotCollected, PlacedFile};
use crate::helper::wants;
use crate::image::packages::{DebianPackage, NodePackage, PythonPackage, RPackage};
use crate::wire::{
    FromBroker, FromHelper, FromRun, FromSession, ToBroker, ToHelper, ToRun, ToSession, read_files,
    write_end, write_file, write_sheet,
};

pub use crate::client::fuzz::frames;
pub use crate::egress::fuzz::{client_hello, dns_answer, network_report, proxy_head};
pub use crate::image::fuzz::{alternatives, dpkg_status, image_manifest};

/// The bounds under which parcels are read here.
const PARCEL_BYTES_MAX: u64 = 1 << 16;
/// And how many files.
const PARCEL_FILES_MAX: usize = 16;

/// A message that parses is the same when it was packed and parsed again, in every direction.
pub fn messages(bytes: &[u8]) {
    comes_back::<ToHelper>(bytes);
    comes_back::<FromHelper>(bytes);
    comes_back::<ToRun>(bytes);
    comes_back::<FromRun>(bytes);
    comes_back::<ToSession>(bytes);
    comes_back::<FromSession>(bytes);
    comes_back::<ToResident>(bytes);
    comes_back::<FromResident>(bytes);
    comes_back::<ToBroker>(bytes);
    comes_back::<FromBroker>(bytes);
    comes_back::<ToProxy>(bytes);
    comes_back::<FromProxy>(bytes);
    comes_back::<ToStem>(bytes);
    comes_back::<FromStem>(bytes);
    comes_back::<Report>(bytes);
}

fn comes_back<M: Message + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = M::unpack(bytes) {
        assert_eq!(M::unpack(&message.pack()), Ok(message));
    }
}

/// A sheet is read as far as it is whole, and a whole one is what its own parts would be written as.
pub fn sheet(bytes: &[u8]) {
    let Ok((arguments, files)) = read_sheet(bytes) else { return };
    let arguments: Option<Vec<&str>> = arguments.iter().map(|text| str::from_utf8(text).ok()).collect();
    let files: Option<Vec<PlacedFile>> =
        files.into_iter().map(|(path, content)| placed(&path, content)).collect();
    if let (Some(arguments), Some(files)) = (arguments, files) {
        let written = write_sheet(&arguments, &files).and_then(text_of);
        assert!(written.is_ok_and(|written| bytes.starts_with(&written)));
    }
}

/// The file, if this is how its path is written.
fn placed(path: &[u8], content: Vec<u8>) -> Option<PlacedFile> {
    let file = PlacedFile::new(str::from_utf8(path).ok()?, content).ok()?;
    (file.path().as_bytes() == path).then_some(file)
}

/// The arguments of a sheet, and its files with their paths.
type Sheets = (Vec<Vec<u8>>, Vec<(Vec<u8>, Vec<u8>)>);

fn read_sheet(bytes: &[u8]) -> io::Result<Sheets> {
    let written = text_memfd("sheet", bytes)?;
    let mut sheet = Sheet::new(written.as_fd());
    let arguments = (0..sheet.count()?).map(|_| sheet.text()).collect::<io::Result<_>>()?;
    let mut files = Vec::new();
    for _ in 0..sheet.count()? {
        let path = sheet.text()?;
        let file = memfd_create("file", MemfdFlags::CLOEXEC)?;
        sheet.copy_to(&file)?;
        files.push((path, text_of(&file)?));
    }
    Ok((arguments, files))
}

/// A parcel keeps its bounds, and what came whole is the same when it was written and read again.
pub fn parcel(bytes: &[u8]) {
    let files = read_files(bytes, PARCEL_BYTES_MAX, PARCEL_FILES_MAX);
    assert!(files.len() <= PARCEL_FILES_MAX + 1);
    assert!(files.iter().filter_map(|file| file.content.as_ref().ok()).flatten().count() <= bytes.len());
    let broke_off = CollectedFile { path: String::new(), content: Err(NotCollected::BrokeOff) };
    if files.last() != Some(&broke_off) {
        let mut written = Vec::new();
        let told = files.iter().try_for_each(|file| write_file(&mut written, file));
        assert!(told.and_then(|()| write_end(&mut written)).is_ok());
        assert_eq!(read_files(&written[..], PARCEL_BYTES_MAX, PARCEL_FILES_MAX), files);
    }
}

/// A path that is taken stays below its root, step by step, and is taken again as it was settled.
pub fn paths(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(file) = PlacedFile::new(text, Vec::new()) else { return };
    let below = file.path().strip_prefix("/home/user/").or_else(|| file.path().strip_prefix("/tmp/"));
    let is_step = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    assert!(below.is_some_and(|below| below.split('/').all(is_step)), "{:?}", file.path());
    assert_eq!(PlacedFile::new(file.path(), Vec::new()).as_ref(), Ok(&file));
}

/// Whatever a caller calls a pattern can be held against whatever a guest calls a file, in little time. The first
/// line is the pattern, the second the path.
pub fn patterns(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (pattern, path) = text.split_once('\n').unwrap_or((text, ""));
    if Collect::is_pattern(pattern) {
        let wanted = wants(pattern, path);
        assert!(!wanted || pattern.contains(['*', '?', '[']) || pattern.ends_with(path));
    }
}

/// The name of a package is none of an option, a path or an address, and reads back.
pub fn package_names(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let python = text.parse::<PythonPackage>().map(|package| package.to_string()).ok();
    let node = text.parse::<NodePackage>().map(|package| package.to_string()).ok();
    let r = text.parse::<RPackage>().is_ok();
    let debian = text.parse::<DebianPackage>().is_ok();
    assert!([&python, &node].into_iter().flatten().all(|written| written == text));
    if python.is_some() || node.is_some() || r || debian {
        let scoped = node.is_some() && text.starts_with('@') && text.matches('/').count() == 1;
        assert!(!text.starts_with(['-', '.', '/']) && !text.contains([':', '\0', '\n', ' ', '\\']), "{text}");
        assert!(!text.contains('/') || scoped, "{text}");
    }
}

#[cfg(test)]
#[path = "../../../fuzz/near.rs"]
pub(crate) mod near;

#[cfg(test)]
mod tests {
    use super::{messages, near, package_names, parcel, paths, patterns, sheet};

    #[test]
    fn every_message_that_parses_comes_back() {
        near::holds("messages", messages);
    }

    #[test]
    fn a_sheet_is_read_as_far_as_it_is_whole() {
        near::holds("sheet", sheet);
    }

    #[test]
    fn a_parcel_keeps_its_bounds_and_comes_back() {
        near::holds("parcel", parcel);
    }

    #[test]
    fn a_path_stays_below_its_root() {
        near::holds("paths", paths);
    }

    #[test]
    fn a_pattern_can_be_held_against_any_path() {
        near::holds("patterns", patterns);
    }

    #[test]
    fn a_package_name_is_no_option_path_or_address() {
        near::holds("package_names", package_names);
    }
}
