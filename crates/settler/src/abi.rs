//! The few calls and events of tokens, of Permit2 and of the proxies before it that are needed here: every argument is one word
//! of 32 bytes, but for a signature at the end.

use execgate_payment::evm::{Address, Authorization, Means, U256, from_hex, keccak256, to_hex};
use serde_json::Value;

/// The most that the data of a transaction is read for a settlement, in bytes.
const DATA_MAX: usize = 4_096;

/// How many words of a permit by EIP-2612 stand before what a proxy settles, where one goes with it.
const OWN_PERMIT_WORDS: usize = 5;

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

/// Which contract is asked to move what was authorized.
pub(crate) fn asked(authorization: &Authorization) -> Address {
    authorization.by.proxy().unwrap_or(authorization.token.contract)
}

/// What it is asked: `settle` of a proxy, or of the token.
pub(crate) fn transfer(authorization: &Authorization) -> Vec<u8> {
    let Some((settle, _)) = forms(authorization.by) else { return by_token(authorization) };
    let mut words = permit_words(authorization);
    let signature = authorization.signature.as_bytes();
    // Where the signature stands, behind the other words, and how long it is.
    let at = 32 * (words.len() as u64 + 1);
    words.push(*U256::from(at).as_bytes());
    words.push(*U256::from(signature.len() as u64).as_bytes());
    let mut data = call(settle, &words);
    data.extend_from_slice(signature);
    data.resize((data.len() - 4).next_multiple_of(32) + 4, 0);
    data
}

/// How a proxy is asked to settle: alone, and with a permit of the token's own before (EIP-2612).
fn forms(by: Means) -> Option<(&'static str, &'static str)> {
    match by {
        Means::Token => None,
        Means::Permit2 => Some((
            "settle(((address,uint256),uint256,uint256),address,(address,uint256),bytes)",
            "settleWithPermit((uint256,uint256,bytes32,bytes32,uint8),((address,uint256),uint256,uint256),address,\
             (address,uint256),bytes)",
        )),
        Means::UpTo { .. } => Some((
            "settle(((address,uint256),uint256,uint256),uint256,address,(address,address,uint256),bytes)",
            "settleWithPermit((uint256,uint256,bytes32,bytes32,uint8),((address,uint256),uint256,uint256),uint256,\
             address,(address,address,uint256),bytes)",
        )),
    }
}

/// What a proxy is told, but for the signature.
fn permit_words(authorization: &Authorization) -> Vec<[u8; 32]> {
    let Authorization { token, from, to, value, valid_after, valid_before, nonce, by, .. } = authorization;
    let mut words = vec![token.contract.to_word(), *value.as_bytes(), *nonce, *valid_before.as_bytes()];
    match by {
        Means::UpTo { facilitator, .. } => {
            words.extend([*authorization.moved().as_bytes(), from.to_word(), to.to_word()]);
            words.push(facilitator.to_word());
        }
        Means::Token | Means::Permit2 => words.extend([from.to_word(), to.to_word()]),
    }
    words.push(*valid_after.as_bytes());
    words
}

/// Whether a transaction to `to` with this `input` asks the proxy itself to settle what was authorized.
pub(crate) fn settles(authorization: &Authorization, to: &Value, input: &Value) -> bool {
    let (Some((alone, with)), Some(proxy)) = (forms(authorization.by), authorization.by.proxy()) else {
        return false;
    };
    let is_to = to.as_str().is_some_and(|to| to.eq_ignore_ascii_case(&proxy.to_lowercase()));
    let Some(data) = input.as_str().and_then(|input| from_hex(input, DATA_MAX).ok()) else { return false };
    let words = permit_words(authorization);
    let begins = |form: &str, behind: usize| {
        data.starts_with(&keccak256(form.as_bytes())[..4])
            && data.get(4 + 32 * behind..).is_some_and(|rest| rest.starts_with(words.as_flattened()))
    };
    is_to && (begins(alone, 0) || begins(with, OWN_PERMIT_WORDS))
}

/// `transferWithAuthorization`, in the form that takes the numbers of a signature (EIP-3009).
fn by_token(authorization: &Authorization) -> Vec<u8> {
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

/// `nonceBitmap` of Permit2
pub(crate) fn bitmap(payer: Address, word: [u8; 32]) -> Vec<u8> {
    call("nonceBitmap(address,uint256)", &[payer.to_word(), word])
}

/// `allowance`
pub(crate) fn allowance(owner: Address, spender: Address) -> Vec<u8> {
    call("allowance(address,address)", &[owner.to_word(), spender.to_word()])
}

/// `balanceOf`
pub(crate) fn balance(account: Address) -> Vec<u8> {
    call("balanceOf(address)", &[account.to_word()])
}

/// `decimals`
pub(crate) fn decimals() -> Vec<u8> {
    call("decimals()", &[])
}

/// `DOMAIN_SEPARATOR`
pub(crate) fn domain() -> Vec<u8> {
    call("DOMAIN_SEPARATOR()", &[])
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

/// The topic of nonces of Permit2 that were taken back.
pub(crate) fn invalidated() -> String {
    topic("UnorderedNonceInvalidation(address,uint256,uint256)")
}

#[cfg(test)]
mod tests {
    use execgate_payment::evm::{Address, to_hex};

    use super::{allowance, balance, bitmap, cancelled, decimals, domain, invalidated, moved, state, used};

    #[test]
    fn selectors_and_topics_are_those_that_everybody_has() {
        let selector = |data: Vec<u8>| to_hex(&data[..4]);
        assert_eq!(selector(balance(Address::ZERO)), "0x70a08231");
        assert_eq!(selector(state(Address::ZERO, [0; 32])), "0xe94a0102");
        assert_eq!(selector(allowance(Address::ZERO, Address::ZERO)), "0xdd62ed3e");
        assert_eq!(selector(decimals()), "0x313ce567");
        assert_eq!(selector(domain()), "0x3644e515");
        assert_eq!(selector(bitmap(Address::ZERO, [0; 32])), "0x4fe02b44");
        assert_eq!(invalidated(), "0x3704902f963766a4e561bbaab6e6cdc1b1dd12f6e9e99648da8843b3f46b918d");
        assert_eq!(moved(), "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
        assert_eq!(used(), "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5");
        assert_eq!(cancelled(), "0x1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81");
    }
}
