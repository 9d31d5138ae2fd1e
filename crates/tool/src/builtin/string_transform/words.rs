//! Words of a text, for its cases.

/// How words are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Snake,
    Kebab,
    Camel,
    Pascal,
}

/// The words of a text in lower case: parted by what is no letter or digit, and where lower case becomes upper case.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in text.split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty()) {
        let mut word = String::new();
        let mut letters = part.chars().peekable();
        let mut before: Option<char> = None;
        while let Some(letter) = letters.next() {
            let begins = before.is_some_and(|before| {
                let ends_capitals =
                    before.is_uppercase() && letters.peek().is_some_and(|next| next.is_lowercase());
                letter.is_uppercase() && (!before.is_uppercase() || ends_capitals)
            });
            if begins {
                words.push(std::mem::take(&mut word));
            }
            word.extend(letter.to_lowercase());
            before = Some(letter);
        }
        words.push(word);
    }
    words
}

/// A word with its first letter in upper case, the others as they are.
pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The words of a text, joined.
pub(super) fn join(text: &str, case: Case) -> String {
    let words = words(text);
    match case {
        Case::Snake => words.join("_"),
        Case::Kebab => words.join("-"),
        Case::Pascal => words.iter().map(|word| capital(word)).collect(),
        Case::Camel => {
            let of = |(at, word): (usize, &String)| if at == 0 { word.clone() } else { capital(word) };
            words.iter().enumerate().map(of).collect()
        }
    }
}
