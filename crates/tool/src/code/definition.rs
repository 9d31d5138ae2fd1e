//! Reading a language's TOML. The words `{runner}` and `{later}` in its argv stand for its scripts.

use execgate_sandbox::{Language, Source, VerdictBy};
use serde::Deserialize;

/// The scripts of a language.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scripts {
    /// What the interpreter starts with.
    pub(super) runner: &'static str,
    /// What the runner needs in some runs only, if it is apart.
    pub(super) later: &'static str,
}

impl Scripts {
    /// A part of the argv, with a script in the place of its name.
    fn fill_in(&self, part: &str) -> String {
        match part {
            "{runner}" => self.runner.to_owned(),
            "{later}" => self.later.to_owned(),
            other => other.to_owned(),
        }
    }
}

/// The TOML of a language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    name: String,
    argv: Vec<String>,
    #[serde(default)]
    env: Vec<(String, String)>,
    source: Source,
    verdict: VerdictBy,
}

/// The language that a TOML and its scripts make; an embedded definition that is wrong fails the tests.
pub(super) fn read(toml: &str, scripts: &Scripts) -> Result<Language, toml::de::Error> {
    let definition: Definition = toml::from_str(toml)?;
    Ok(Language {
        name: definition.name,
        argv: definition.argv.iter().map(|part| scripts.fill_in(part)).collect(),
        env: definition.env,
        source: definition.source,
        verdict: definition.verdict,
    })
}

#[cfg(test)]
mod tests {
    use super::super::all;

    #[test]
    fn every_embedded_definition_is_a_language() {
        let names: Vec<_> = all().into_iter().map(|language| language.name).collect();
        assert_eq!(names, ["bash", "python"]);
        let open =
            all().into_iter().flat_map(|language| language.argv).find(|part| part.contains("{runner}"));
        assert_eq!(open, None, "every script is in its place");
    }
}
