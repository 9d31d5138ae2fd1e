//! Who is told of runs that wait for an approval: the operator's URL alone, and never one of a caller's.

use core::fmt;

use anyhow::{Context as _, bail};
use execgate_tool::{Courier, Reach, Secret};

use super::Actions;
use super::file::File;

/// As it is configured; the secret is not read yet. Its `Debug` shows no URL, which may hold a token.
#[derive(Clone)]
pub(crate) struct WebhookSetting {
    url: String,
    secret: String,
    reach: Reach,
}

/// As it is used.
#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    pub(crate) secret: Secret,
    pub(crate) reach: Reach,
}

impl fmt::Debug for WebhookSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSetting").field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl WebhookSetting {
    /// The section, if it is there. The URL is not told in an error: it may hold a token.
    pub(super) fn of_file(file: &File) -> anyhow::Result<Option<Self>> {
        let Some(section) = &file.webhook else { return Ok(None) };
        Courier::check(&section.url).context("`webhook.url` is wrong")?;
        let reach = if section.allow_private == Some(true) { Reach::Private } else { Reach::Internet };
        if reach == Reach::Internet && !section.url.starts_with("https:") {
            bail!(
                "`webhook.url` must be https; plain HTTP is for private networks, with `allow_private = true`"
            );
        }
        Ok(Some(Self { url: section.url.clone(), secret: section.secret.clone(), reach }))
    }

    /// Reads its secret, with whatever rights this process still has.
    pub(crate) fn load(&self, actions: &Actions) -> anyhow::Result<Webhook> {
        let secrets = actions.secrets()?;
        let secret = secrets.find(&self.secret);
        let secret = secret.context("`webhook.secret` names no section [secrets.…]")?.clone();
        Ok(Webhook { url: self.url.clone(), secret, reach: self.reach })
    }
}

#[cfg(test)]
mod tests {
    use super::WebhookSetting;
    use crate::config::file::File;

    #[test]
    fn what_goes_over_the_internet_goes_by_tls_and_a_wrong_url_is_not_told() {
        let read = |url: &str, private: bool| {
            let text = format!("[webhook]\nurl = \"{url}\"\nsecret = \"HOOK\"\nallow_private = {private}\n");
            WebhookSetting::of_file(&toml::from_str::<File>(&text).unwrap())
                .map_err(|error| format!("{error:#}"))
        };
        assert!(read("https://hooks.example/token", false).unwrap().is_some());
        assert!(read("http://10.0.0.7:8080/hook", true).unwrap().is_some());
        for (url, private) in [("http://hooks.example/token", false), ("ftp://hooks.example/token", true)] {
            let error = read(url, private).unwrap_err();
            assert!(!error.contains("token"), "{error}");
        }
    }
}
