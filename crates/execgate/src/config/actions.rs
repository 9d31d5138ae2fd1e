//! The operator's own actions: from sections of the configuration to what the tools crate checks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use execgate_tool::{Action, ActionEffect, ActionSpec, CommandSpec, HttpSpec, KindSpec, Secrets};
use serde_json::Value;

use super::file::{ActionKind, ActionSection, EffectSetting, File, SecretSection};
use super::secrets;

/// The most actions: all of them are held, and listed for models to read.
const ACTIONS_MAX: usize = 256;

/// The longest file of a schema, in bytes.
const SCHEMA_FILE_MAX: u64 = 256 << 10;

/// What the configuration says of actions and secrets; neither is read yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Actions {
    sections: Vec<ActionSection>,
    secrets: BTreeMap<String, SecretSection>,
    /// Where paths of schemas begin.
    folder: PathBuf,
}

impl Actions {
    pub(super) fn declared(file: &File, path: Option<&Path>) -> Self {
        let folder = path.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        Self { sections: file.action.clone(), secrets: file.secrets.clone(), folder }
    }

    /// Reads the secrets alone.
    pub(super) fn secrets(&self) -> anyhow::Result<Secrets> {
        secrets::read(&self.secrets)
    }

    /// Reads schemas and secrets, with whatever rights this process still has, and checks every action.
    pub(crate) fn load(&self) -> anyhow::Result<Vec<Action>> {
        if self.sections.len() > ACTIONS_MAX {
            bail!("there are {} actions; at most {ACTIONS_MAX} can be", self.sections.len());
        }
        let secrets = secrets::read(&self.secrets)?;
        let one = |section: &ActionSection| {
            let what = || format!("the action `{}` is wrong", section.name);
            let spec = self.spec(section).with_context(what)?;
            Action::new(spec, &secrets).with_context(what)
        };
        self.sections.iter().map(one).collect()
    }

    fn spec(&self, section: &ActionSection) -> anyhow::Result<ActionSpec> {
        refuse_what_is_not_there(section)?;
        let kind = match section.kind {
            ActionKind::Http => KindSpec::Http(http(section)?),
            ActionKind::Command => KindSpec::Command(command(section)?),
        };
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds);
        let timeout = section.timeout_s.map(seconds).transpose().context("`timeout_s` is no time")?;
        Ok(ActionSpec {
            name: section.name.clone(),
            description: section.description.clone(),
            schema: self.schema(section)?,
            effect: match section.effect {
                EffectSetting::Read => ActionEffect::Read,
                EffectSetting::Write => ActionEffect::Write,
            },
            timeout,
            is_tool: section.tool.unwrap_or(false),
            kind,
        })
    }

    /// The schema: a table, or the path of a file that holds it as JSON.
    fn schema(&self, section: &ActionSection) -> anyhow::Result<Option<Value>> {
        let Some(Value::String(path)) = &section.schema else { return Ok(section.schema.clone()) };
        let path = self.folder.join(path);
        let what = || format!("failed to read the schema {}", path.display());
        if fs::metadata(&path).with_context(what)?.len() > SCHEMA_FILE_MAX {
            bail!("the schema {} has more than {SCHEMA_FILE_MAX} bytes", path.display());
        }
        let text = fs::read(&path).with_context(what)?;
        serde_json::from_slice(&text).map(Some).with_context(what)
    }
}

/// Whatever is asked for and cannot be is an error that says why.
fn refuse_what_is_not_there(section: &ActionSection) -> anyhow::Result<()> {
    if section.price.is_some() {
        bail!("`price` is no field of an action: `[payment.prices]` has it, by the name of the action");
    }
    if section.risk.is_some() {
        bail!("`risk` has its place in the policy file, under `tools`");
    }
    if section.env.is_some() {
        bail!(
            "`env` cannot be given: a guest has the same few variables whatever runs, and no secret ever reaches one; \
             an action of the kind http can send a secret"
        );
    }
    Ok(())
}

fn http(section: &ActionSection) -> anyhow::Result<HttpSpec> {
    for (field, is_there) in [("argv", section.argv.is_some()), ("profile", section.profile.is_some())] {
        if is_there {
            bail!("`{field}` is for actions of the kind command");
        }
    }
    Ok(HttpSpec {
        method: section.method.clone().context("`method` is missing")?,
        url: section.url.clone().context("`url` is missing")?,
        query: section.query.clone().unwrap_or_default(),
        headers: section.headers.clone().unwrap_or_default(),
        body: section.body.clone(),
        allow_private: section.allow_private.unwrap_or(false),
        bytes_max: section.max_bytes,
    })
}

fn command(section: &ActionSection) -> anyhow::Result<CommandSpec> {
    for (field, is_there) in [
        ("method", section.method.is_some()),
        ("url", section.url.is_some()),
        ("query", section.query.is_some()),
        ("headers", section.headers.is_some()),
        ("body", section.body.is_some()),
        ("allow_private", section.allow_private.is_some()),
        ("max_bytes", section.max_bytes.is_some()),
    ] {
        if is_there {
            bail!("`{field}` is for actions of the kind http");
        }
    }
    Ok(CommandSpec {
        argv: section.argv.clone().context("`argv` is missing")?,
        profile: section.profile.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Actions, File};

    fn load(text: &str) -> Result<Vec<String>, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let actions = Actions::declared(&file, None).load().map_err(|error| format!("{error:#}"))?;
        Ok(actions.iter().map(|action| format!("{} {}", action.name(), action.kind())).collect())
    }

    const WEATHER: &str = "[[action]]\nname = \"weather\"\ndescription = \"d\"\nkind = \"http\"\neffect = \"read\"\n\
                           method = \"GET\"\nurl = \"https://api.example/v1/{city}\"\n";
    const CITY: &str = "schema = { type = \"object\", required = [\"city\"], additionalProperties = false, \
                        properties = { city = { type = \"string\" } } }\n";
    const COUNT: &str = "[[action]]\nname = \"count\"\ndescription = \"d\"\nkind = \"command\"\neffect = \"read\"\n\
                         argv = [\"/usr/bin/wc\", \"-c\"]\n";

    #[test]
    fn actions_of_both_kinds_are_read() {
        let both = load(&format!("{WEATHER}{CITY}{COUNT}")).unwrap();
        assert_eq!(both, ["weather http", "count command"]);
        assert_eq!(load("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_or_not_there_is_told_with_the_name_of_the_action() {
        for (text, why) in [
            (WEATHER.to_owned(), "{city}"),
            (format!("{WEATHER}{CITY}argv = [\"/bin/ls\"]\n"), "kind command"),
            (format!("{WEATHER}{CITY}price = \"0.01\"\n"), "[payment.prices]"),
            (format!("{WEATHER}{CITY}risk = \"read\"\n"), "policy file"),
            (format!("{WEATHER}{CITY}timeout_s = 31\n"), "at most 30"),
            (format!("{WEATHER}{CITY}timeout_s = -1\n"), "timeout_s"),
            (
                format!("{WEATHER}{CITY}headers = {{ authorization = {{ secret = \"K\" }} }}\n"),
                "names a secret",
            ),
            (format!("{COUNT}env = {{ TOKEN = {{ secret = \"K\" }} }}\n"), "no secret ever reaches"),
            (format!("{COUNT}url = \"https://a.example/\"\n"), "kind http"),
            (COUNT.replace("/usr/bin/wc", "wc"), "path of a program"),
            (COUNT.replace("name = \"count\"", "name = \"python\""), "belongs to"),
            (COUNT.replace("name = \"count\"", "name = \"shell_exec\""), "belongs to"),
            (COUNT.replace("name = \"count\"", "name = \"server.tool\""), "a-z"),
            (format!("{COUNT}schema = \"/no/such/file\"\n"), "failed to read the schema"),
            (format!("{COUNT}what = 1\n"), "unknown field"),
        ] {
            let told = load(&text).unwrap_err();
            assert!(told.contains(why), "{told}\n{text}");
        }
    }

    #[test]
    fn a_schema_may_be_a_file_beside_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("city.json"), r#"{"type": "object", "additionalProperties": true}"#)
            .unwrap();
        let file: File = toml::from_str(&format!("{COUNT}schema = \"city.json\"\n")).unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(Actions::declared(&file, Some(&path)).load().unwrap().len(), 1);
    }
}
