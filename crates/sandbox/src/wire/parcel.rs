//! What the collector brings back: records of files in one memory file. Written under the guest's user id, so
//! whoever reads treats every byte as hostile.

use std::io::{self, Read, Write};

use crate::files::{CollectedFile, NotCollected};

/// Record kinds; the numbers between are those of [`NotCollected`].
const END: u8 = 0;
const CONTENT: u8 = 255;

/// Writes one file, or why it is left behind.
pub(crate) fn write_file(to: &mut impl Write, file: &CollectedFile) -> io::Result<()> {
    let kind = match &file.content {
        Ok(_) => CONTENT,
        Err(why) => why.number(),
    };
    to.write_all(&[kind])?;
    write_bytes(to, file.path.as_bytes())?;
    write_bytes(to, file.content.as_deref().unwrap_or_default())
}

/// Says that nothing was forgotten.
pub(crate) fn write_end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[END])
}

fn write_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes())?;
    to.write_all(bytes)
}

/// Reads the records, within bounds. What is cut short, or makes no sense, ends with a file that says so.
pub(crate) fn read_files(from: impl Read, bytes_max: u64, files_max: usize) -> Vec<CollectedFile> {
    let mut from = from.take(bytes_max);
    let mut files = Vec::new();
    loop {
        match read_file(&mut from) {
            Ok(Some(file)) if files.len() < files_max => files.push(file),
            Ok(None) => return files,
            Ok(Some(_)) | Err(_) => {
                files.push(CollectedFile { path: String::new(), content: Err(NotCollected::BrokeOff) });
                return files;
            }
        }
    }
}

fn read_file(from: &mut io::Take<impl Read>) -> io::Result<Option<CollectedFile>> {
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    let [kind] = kind;
    if kind == END {
        return Ok(None);
    }
    let path = String::from_utf8(read_bytes(from)?).map_err(io::Error::other)?;
    let content = read_bytes(from)?;
    let content = match NotCollected::from_number(kind) {
        None if kind == CONTENT => Ok(content),
        Some(why) => Err(why),
        None => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(Some(CollectedFile { path, content }))
}

fn read_bytes(from: &mut io::Take<impl Read>) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    // No more is set aside than there can be.
    if length > from.limit() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = Vec::new();
    let got = from.by_ref().take(length).read_to_end(&mut bytes)?;
    if u64::try_from(got).is_ok_and(|got| got == length) {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{read_files, write_end, write_file};
    use crate::files::{CollectedFile, NotCollected};

    fn parcel() -> (Vec<CollectedFile>, Vec<u8>) {
        let files = vec![
            CollectedFile { path: "a".into(), content: Ok(b"one".to_vec()) },
            CollectedFile { path: "/tmp/l".into(), content: Err(NotCollected::Kind) },
        ];
        let mut bytes = Vec::new();
        files.iter().for_each(|file| write_file(&mut bytes, file).unwrap());
        write_end(&mut bytes).unwrap();
        (files, bytes)
    }

    #[test]
    fn files_come_back_as_they_went() {
        let (files, bytes) = parcel();
        assert_eq!(read_files(&bytes[..], 1000, 10), files);
    }

    #[test]
    fn a_parcel_that_is_cut_short_says_so() {
        let (files, bytes) = parcel();
        for end in 0..bytes.len() {
            let got = read_files(&bytes[..end], 1000, 10);
            assert_eq!(got.last().unwrap().content, Err(NotCollected::BrokeOff), "{end}");
            assert!(got.len() <= files.len() + 1);
        }
        assert_eq!(read_files(&bytes[..], 1000, 1).len(), 2, "the bound on files holds");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_stumble(bytes: Vec<u8>, files_max in any::<u8>()) {
            let files_max = usize::from(files_max);
            assert!(read_files(&bytes[..], 256, files_max).len() <= files_max + 1);
        }
    }
}
