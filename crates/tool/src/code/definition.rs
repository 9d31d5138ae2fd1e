//! Reading a language's TOML. The word `{runner}` in its argv stands for the runner script.

use execgate_sandbox::{Language, Source, VerdictBy};
use serde::Deserialize;

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

/// The language that a TOML and a runner script make; an embedded definition that is wrong fails the tests.
pub(super) fn read(toml: &str, runner: &str) -> Result<Language, toml::de::Error> {
    let definition: Definition = toml::from_str(toml)?;
    Ok(Language {
        name: definition.name,
        argv: definition.argv.into_iter().map(|part| part.replace("{runner}", runner)).collect(),
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
    }
}
