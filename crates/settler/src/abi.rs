//! The few calls and events of tokens that are needed here: every argument is one word of 32 bytes.

use execgate_payment::evm::{Address, Authorization, U256, keccak256, to_hex};

/// A function's arguments behind its selector.
fn call(function: &str, words: &[[u8; 32]]) -> Vec<u8> {
    let mut data = keccak256(function.as_bytes())[..4].to_vec();
    data.extend_from_slice(words.as_flattened());
    data
}

/// The topic of an event.
fn topic(event: &str) -> String {
    to_hex(&keccak256(event.as_bytes()))
}

/// `transferWithAuthorization`, in the form that takes the numbers of a signature (EIP-3009).
pub(crate) fn transfer(authorization: &Authorization) -> Vec<u8> {
    let Authorization { from, to, value, valid_after, valid_before, nonce, signature, .. } = authorization;
    let words = [
        from.to_word(),
        to.to_word(),
        *value.as_bytes(),
        *valid_after.as_bytes(),
        *valid_before.as_bytes(),
        *nonce,
        *U256::from(u64::from(signature.v())).as_bytes(),
        signature.r(),
        signature.s(),
    ];
    let form =
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)";
    call(form, &words)
}

/// `authorizationState`
pub(crate) fn state(payer: Address, nonce: [u8; 32]) -> Vec<u8> {
    call("authorizationState(address,bytes32)", &[payer.to_word(), nonce])
}

/// `balanceOf`
pub(crate) fn balance(account: Address) -> Vec<u8> {
    call("balanceOf(address)", &[account.to_word()])
}

/// The topic of tokens that moved.
pub(crate) fn moved() -> String {
    topic("Transfer(address,address,uint256)")
}

/// The topic of a nonce that was used.
pub(crate) fn used() -> String {
    topic("AuthorizationUsed(address,bytes32)")
}

/// The topic of a nonce that was taken back.
pub(crate) fn cancelled() -> String {
    topic("AuthorizationCanceled(address,bytes32)")
}

#[cfg(test)]
mod tests {
    use execgate_payment::evm::{Address, to_hex};

    use super::{balance, cancelled, moved, state, used};

    #[test]
    fn selectors_and_topics_are_those_that_everybody_has() {
        let selector = |data: Vec<u8>| to_hex(&data[..4]);
        assert_eq!(selector(balance(Address::ZERO)), "0x70a08231");
        assert_eq!(selector(state(Address::ZERO, [0; 32])), "0xe94a0102");
        assert_eq!(moved(), "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
        assert_eq!(used(), "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5");
        assert_eq!(cancelled(), "0x1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81");
    }
}
