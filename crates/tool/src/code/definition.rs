//! Reading a language's TOML. The words `{runner}`, `{warm}`, `{session}` and `{later}` in its argv and environment stand
//! for its scripts.

use std::collections::BTreeMap;
use std::path::Path;

use execgate_sandbox::{Language, SessionStart, Source, VerdictBy, Warm};
use serde::Deserialize;

/// The scripts of a language.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scripts {
    /// What the interpreter starts with.
    pub(super) runner: &'static str,
    /// What an interpreter starts with that is there before its run, if that is something else.
    pub(super) warm: &'static str,
    /// What runs one code after the other in a session, if it is apart.
    pub(super) session: &'static str,
    /// What the runner needs in some runs only, if it is apart.
    pub(super) later: &'static str,
    /// Code that prints `{"version", "packages"}` of the language as a guest finds it.
    pub(super) about: &'static str,
}

impl Scripts {
    /// A part of the argv or of the environment, with a script in the place of its name.
    fn fill_in(&self, part: &str) -> String {
        match part {
            "{runner}" => self.runner.to_owned(),
            "{warm}" => self.warm.to_owned(),
            "{session}" => self.session.to_owned(),
            "{later}" => self.later.to_owned(),
            other => other.to_owned(),
        }
    }
}

/// The TOML of a language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    /// Other names, under which the runner is told a word.
    #[serde(default)]
    dialects: BTreeMap<String, String>,
    /// Endings of files.
    #[serde(default)]
    endings: Vec<String>,
    interpreters: Vec<String>,
    argv: Vec<String>,
    /// The arguments of an interpreter that is there before its run.
    #[serde(default)]
    warm: Option<Warm>,
    /// Whether such a one, and one that serves a session, loads the fork-point library before its own.
    #[serde(default)]
    preloads: bool,
    /// What an interpreter asks of the kernel to write to and leaves alone, in MiB.
    #[serde(default)]
    idle_mib: u32,
    /// Those of others, for code that mentions what they hold.
    #[serde(default)]
    suited: Vec<Suited>,
    /// Those of one that serves a session and was not there before.
    #[serde(default)]
    session: Option<SessionStart>,
    #[serde(default)]
    env: Vec<(String, String)>,
    source: Source,
    verdict: VerdictBy,
}

/// An interpreter that suits some code better than the others do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suited {
    /// Any of these words.
    mentions: Vec<String>,
    warm: Warm,
}

/// A language that execgate knows, whether an image has it or not.
#[derive(Debug)]
pub struct Definition {
    written: Written,
    scripts: Scripts,
}

impl Definition {
    /// The name of the action and of the language.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.written.name
    }

    /// Its other names, dialects included.
    #[must_use]
    pub fn aliases(&self) -> Vec<&str> {
        self.written.aliases.iter().chain(self.written.dialects.keys()).map(String::as_str).collect()
    }

    /// Code of this language that prints its version and packages as JSON.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.scripts.about
    }

    /// The words for the runner, if this is a name of the language, in lower case.
    #[must_use]
    pub fn answers_to(&self, name: &str) -> Option<Vec<String>> {
        let written = &self.written;
        if name == written.name || written.aliases.iter().any(|alias| alias == name) {
            return Some(Vec::new());
        }
        written.dialects.get(name).map(|word| vec![word.clone()])
    }

    /// The name of the language that files of an ending hold.
    #[must_use]
    pub fn ends_with(&self, ending: &str) -> bool {
        self.written.endings.iter().any(|known| known == ending)
    }

    /// Which warm interpreter suits the code best. A guess that costs nothing but time where it is wrong.
    #[must_use]
    pub fn suited_to(&self, code: &str) -> u16 {
        let mentions = |suited: &Suited| suited.mentions.iter().any(|word| code.contains(word));
        let found = (1..).zip(&self.written.suited).find(|(_, suited)| mentions(suited));
        found.map_or(0, |(number, _)| number)
    }

    /// The language as an image has it: with the first interpreter that is there.
    #[must_use]
    pub fn language_in(&self, root: &Path) -> Option<Language> {
        // A link may lead anywhere; that it is there is enough, because only the jail follows it.
        let is_there = |path: &&String| root.join(path.trim_start_matches('/')).symlink_metadata().is_ok();
        let interpreter = self.written.interpreters.iter().find(is_there)?;
        let started = |rest: &Vec<String>| {
            let rest = rest.iter().map(|part| self.scripts.fill_in(part));
            std::iter::once(interpreter.clone()).chain(rest).collect()
        };
        Some(Language {
            name: self.written.name.clone(),
            argv: started(&self.written.argv),
            warm: self
                .written
                .warm
                .iter()
                .chain(self.written.suited.iter().map(|suited| &suited.warm))
                .map(|warm| match warm {
                    Warm::Fork(rest) => Warm::Fork(started(rest)),
                    Warm::Wait(rest) => Warm::Wait(started(rest)),
                    Warm::ForkOrWait { fork, wait } => {
                        Warm::ForkOrWait { fork: started(fork), wait: started(wait) }
                    }
                })
                .collect(),
            preloads: self.written.preloads,
            idle_bytes: u64::from(self.written.idle_mib) << 20,
            session: self.written.session.as_ref().map(|session| SessionStart {
                argv: started(&session.argv),
                checkpoints: session.checkpoints,
            }),
            env: self
                .written
                .env
                .iter()
                .map(|(name, part)| (name.clone(), self.scripts.fill_in(part)))
                .collect(),
            source: self.written.source,
            verdict: self.written.verdict,
        })
    }
}

/// The definition that a TOML and its scripts make; an embedded one that is wrong fails the tests.
pub(super) fn read(toml: &str, scripts: Scripts) -> Result<Definition, toml::de::Error> {
    Ok(Definition { written: toml::from_str(toml)?, scripts })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{LANGUAGES, all, named, present};
    use super::read;

    #[test]
    fn every_embedded_definition_is_a_language() {
        for (toml, scripts) in LANGUAGES {
            let definition = read(toml, *scripts).unwrap();
            assert!(!definition.about().is_empty(), "{}", definition.name());
        }
        let names: Vec<_> = all().iter().map(|definition| definition.name().to_owned()).collect();
        assert_eq!(names, ["bash", "javascript", "python", "r"]);
    }

    #[test]
    fn an_image_has_the_languages_whose_interpreters_it_holds() {
        let host = present(Path::new("/"));
        let open = host.iter().flat_map(|language| &language.argv).find(|part| part.contains("{runner}"));
        assert_eq!(open, None, "every script is in its place");
        assert!(host.iter().all(|language| language.argv[0].starts_with('/')));
        assert!(host.iter().any(|language| language.name == "python"));
        assert!(present(Path::new("/proc/self/fdinfo")).is_empty());
    }

    #[test]
    fn a_language_answers_to_its_other_names() {
        let name_of = |asked: &str| named(asked).map(|(name, words)| (name, words.join(",")));
        let plain = |name: &str| Some((name.to_owned(), String::new()));
        assert_eq!(name_of(" Py "), plain("python"));
        assert_eq!(name_of("JS"), plain("javascript"));
        assert_eq!(name_of("ts"), Some(("javascript".to_owned(), "typescript".to_owned())));
        assert_eq!(name_of("sh"), plain("bash"));
        assert_eq!(name_of("ruby"), None);
    }
}
