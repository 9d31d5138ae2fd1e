//! What the movement of a payment is called: the transaction of its chain, or the intent of whoever takes cards.

use crate::TxHash;
use crate::evm::Authorization;
use crate::mpp;

/// The name that somebody gives to the movement of a payment, as its rail writes it: transaction hashes as `0x` and lowercase,
/// intents of cards (`pi_…`) as they are. `state` is what the rail has kept. None where a movement of this payment cannot be called so; what
/// is kept in a form that is not known is called whatever is said.
#[must_use]
pub fn movement(state: &[u8], name: &str) -> Option<String> {
    let state = mpp::kept_by_method(state);
    let hash = || name.parse::<TxHash>().ok();
    if Authorization::from_bytes(state).is_ok() {
        hash().map(|hash| hash.to_string())
    } else if let Some(own) = mpp::tempo_transaction(state) {
        // Its payer has named it already.
        hash().filter(|hash| *hash == own).map(|hash| hash.to_string())
    } else if mpp::is_card(state) {
        let id = name.strip_prefix("pi_").filter(|id| !id.is_empty());
        let is_plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        id.is_some_and(is_plain).then(|| name.to_owned())
    } else {
        Some(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::movement;
    use crate::evm::sample;

    /// What the scheme `Payment` keeps of a payment: the id of its challenge before what its method keeps.
    fn by_challenge(state: &str) -> Vec<u8> {
        [&b"mpp1\0\x02id"[..], state.as_bytes()].concat()
    }

    #[test]
    fn a_movement_is_called_what_its_rail_calls_it_behind_a_challenge_too() {
        let (upper, lower) = (format!("0x{}", "AB".repeat(32)), format!("0x{}", "ab".repeat(32)));
        let signed = sample().to_bytes().unwrap();
        let signed = String::from_utf8(signed).unwrap();
        for state in [signed.as_bytes().to_vec(), by_challenge(&signed)] {
            assert_eq!(movement(&state, &upper), Some(lower.clone()));
            for wrong in ["0x12", "pi_1", &upper[2..]] {
                assert_eq!(movement(&state, wrong), None, "{wrong}");
            }
        }
        let tempo = by_challenge(&format!(
            r#"{{"method":"tempo","challenge":"id","realm":"r","micros":1,"transaction":"{lower}"}}"#
        ));
        assert_eq!(movement(&tempo, &upper), Some(lower));
        assert_eq!(
            movement(&tempo, &format!("0x{}", "cd".repeat(32))),
            None,
            "another than its payer has named"
        );
        let card = by_challenge(r#"{"method":"stripe","challenge":"id","spt":"spt_1"}"#);
        assert_eq!(movement(&card, "pi_3Abc_1"), Some("pi_3Abc_1".to_owned()));
        for wrong in ["pi_", "pi_\u{e9}", "spt_1", "0x12"] {
            assert_eq!(movement(&card, wrong), None, "{wrong}");
        }
        assert_eq!(movement(b"another form", "as it is"), Some("as it is".to_owned()));
    }
}
