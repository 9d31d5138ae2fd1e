//! The gateway that an approver asks, over HTTP.

use core::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_model::RunId;
use execgate_receipt::parse_strict;
use execgate_tool::{Courier, Delivery, Message, Reach};
use serde_json::{Value, json};
use url::{Host, Url};

use crate::{plain, wire};

/// How long a gateway may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// The longest answer: a request of the largest size, with what is told of it.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Which gateway, and by which key.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The gateway
    #[arg(
        long,
        value_name = "URL",
        env = "EXECGATE_URL",
        default_value = "http://127.0.0.1:5091",
        global = true
    )]
    url: String,
    /// The approver's grant key for that gateway; better in the variable than here
    #[arg(long, value_name = "KEY", env = "EXECGATE_KEY", hide_env_values = true, global = true)]
    grant_key: Option<String>,
    /// Send the grant key over plain HTTP to another machine, where everybody on the way can read it
    #[arg(long, global = true)]
    key_in_clear: bool,
}

impl Place {
    /// Asks for something.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(path, None)
    }

    /// One approval, with all that is to be signed.
    pub(super) fn approval(&self, id: &str) -> anyhow::Result<Value> {
        let id: RunId = id.parse().context("an approval is named by a UUID")?;
        self.get(&format!("/approvals/{id}"))
    }

    /// Hands in what was signed.
    pub(super) fn hand_in(&self, id: RunId, artifact: &Value) -> anyhow::Result<Value> {
        self.send(&format!("/approvals/{id}"), Some(&json!({ "artifact": artifact })))
    }

    fn send(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        let mut headers = vec![("accept", "application/json".to_owned())];
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        if let Some(key) = self.grant_key.as_deref().filter(|key| !key.is_empty()) {
            if is_overheard(&url) && !self.key_in_clear {
                bail!(
                    "{} would carry the grant key in clear text: use https, or a tunnel to this machine; --key-in-clear \
                     sends it all the same",
                    self.url
                );
            }
            headers.push(("authorization", format!("Bearer {key}")));
        }
        let body = body.map(|body| body.to_string().into_bytes());
        let message = Message { body, headers, within: ANSWERS_WITHIN, answer_bytes_max: ANSWER_BYTES_MAX };
        // Where to go is for whoever sits here to say.
        let courier = Courier::new(Reach::Anywhere);
        let Delivery { status, body } = wire::runtime()?
            .block_on(courier.deliver(&url, message))
            .context("the gateway cannot be asked")?;
        // Strictly: what stands twice could be shown once and meant otherwise.
        let answer = parse_strict(&body).context("the gateway answered something other than JSON")?;
        if status == 200 {
            return Ok(answer);
        }
        let said = |name: &str| answer[name].as_str().map(plain::line);
        let told = said("detail").or_else(|| said("error")).unwrap_or_default();
        let rule = said("rule").or_else(|| said("code")).unwrap_or_default();
        bail!("the gateway answered {status} ({rule}): {told}")
    }
}

/// Whether what is sent there can be read on the way: no TLS, and another machine than this.
fn is_overheard(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return true };
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() != "https" && !is_here
}

#[cfg(test)]
mod tests {
    use super::is_overheard;

    #[test]
    fn only_this_machine_and_tls_keep_a_key_to_themselves() {
        for good in
            ["https://gate.example", "http://127.0.0.1:5091/a", "http://localhost:1", "http://[::1]:5/"]
        {
            assert!(!is_overheard(good), "{good}");
        }
        for bad in ["http://gate.example", "http://10.0.0.7", "http://127.0.0.1.evil.example", "gate.example"]
        {
            assert!(is_overheard(bad), "{bad}");
        }
    }
}
