//! Which statements are taken. What a statement may touch is for the operator's role in the database; what is looked at
//! here is that it cannot end the transaction that it runs in, nor speak the protocol of a copy.

/// What a statement begins with. None of these can end a transaction.
const VERBS: [&str; 9] =
    ["alter", "create", "delete", "drop", "insert", "merge", "truncate", "update", "with"];

/// The rule, for whoever breaks it.
pub(super) const RULE: &str =
    "is one statement that begins with ALTER, CREATE, DELETE, DROP, INSERT, MERGE, TRUNCATE, UPDATE or WITH";

/// Whether a statement is one that is taken. That it is one alone the database says, which prepares no second one.
pub(super) fn is_taken(statement: &str) -> bool {
    let rest = behind_blanks(statement);
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let verb = rest[..end].to_ascii_lowercase();
    // A letter of another alphabet would go on with the word.
    let goes_on = rest[end..].starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$'));
    VERBS.contains(&verb.as_str()) && !goes_on
}

/// Without blanks and comments at the beginning; a comment that is not closed leaves nothing.
fn behind_blanks(text: &str) -> &str {
    let mut rest = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    loop {
        let behind = if let Some(comment) = rest.strip_prefix("--") {
            comment.find(['\n', '\r']).map_or("", |end| &comment[end..])
        } else if rest.starts_with("/*") {
            behind_comment(rest)
        } else {
            return rest;
        };
        rest = behind.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    }
}

/// What is behind a comment, which may hold others.
fn behind_comment(text: &str) -> &str {
    let (mut depth, mut rest) = (0_usize, text);
    while let Some(at) = rest.find(['/', '*']) {
        rest = &rest[at..];
        if let Some(more) = rest.strip_prefix("/*") {
            (depth, rest) = (depth + 1, more);
        } else if let Some(more) = rest.strip_prefix("*/") {
            (depth, rest) = (depth.saturating_sub(1), more);
            if depth == 0 {
                return rest;
            }
        } else {
            rest = &rest[1..];
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::is_taken;

    #[test]
    fn what_writes_is_taken_and_what_steers_the_transaction_is_not() {
        for good in [
            "INSERT INTO t VALUES ($1)",
            "  update t set a = 1",
            "/* why /* in it */ */ -- and\n delete from t",
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
            "truncate t",
        ] {
            assert!(is_taken(good), "{good}");
        }
        for bad in [
            "",
            "COMMIT",
            "rollback; insert into t values (1)",
            "/* insert */ commit",
            "/* insert into t",
            "-- insert into t",
            "/**/ /* */ begin",
            "insertinto",
            "insert_t",
            "updaté",
            "PREPARE TRANSACTION 'x'",
            "COPY t FROM STDIN",
            "SET synchronous_commit = off",
            "DO $$ begin end $$",
            "select 1",
        ] {
            assert!(!is_taken(bad), "{bad}");
        }
    }
}
