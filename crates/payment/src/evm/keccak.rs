//! Keccak-256, the hash of these chains: not SHA3-256, which pads otherwise.

use sha3::{Digest as _, Keccak256};

/// The 32 bytes of Keccak-256.
#[must_use]
pub fn keccak256(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::keccak256;
    use crate::evm::to_hex;

    #[test]
    fn nothing_has_the_known_hash() {
        let known = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(to_hex(&keccak256(b"")), known);
    }
}
