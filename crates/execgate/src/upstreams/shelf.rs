//! Refresh tokens that issuers have given in the place of the operator's: a file for each server beside what was accepted of
//! it, for the owner of the data directory alone. One that was given for another token of the operator's does not count.

use execgate_model::Digest;
use execgate_tool::upstream::{PinError, ServerName, TokenShelf};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Book;

/// The form of the file.
const VERSION: u32 = 1;

/// What lies on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    /// SHA-256 of the operator's token.
    instead_of: Digest,
    refresh_token: String,
}

impl TokenShelf for Book {
    fn kept(&self, server: &ServerName, instead_of: &Digest) -> Result<Option<Zeroizing<String>>, PinError> {
        let kept: Option<Kept> = self.read(&self.tokens_path(server))?;
        let kept = kept.filter(|kept| kept.version == VERSION && kept.instead_of == *instead_of);
        Ok(kept.map(|kept| Zeroizing::new(kept.refresh_token)))
    }

    fn keep(&self, server: &ServerName, instead_of: &Digest, token: &str) -> Result<(), PinError> {
        let kept = Kept { version: VERSION, instead_of: *instead_of, refresh_token: token.to_owned() };
        self.write(&self.tokens_path(server), &kept)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::metadata;
    use std::os::unix::fs::PermissionsExt as _;

    use execgate_model::Digest;
    use execgate_tool::upstream::{ServerName, TokenShelf as _};

    use super::Book;

    #[test]
    fn a_token_is_kept_for_its_owner_and_in_the_place_of_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (book, server) = (Book::of(folder.path()), ServerName::new("a").unwrap());
        let (first, second) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        assert_eq!(book.kept(&server, &first).unwrap(), None);
        book.keep(&server, &first, "token-of-the-issuer").unwrap();
        let kept = book.kept(&server, &first).unwrap().unwrap();
        assert_eq!(kept.as_str(), "token-of-the-issuer");
        assert_eq!(book.kept(&server, &second).unwrap(), None);
        let mode = metadata(book.tokens_path(&server)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
