//! The transparency log: its first name, and where its checkpoints are kept beside the data directory.

use std::path::{self, PathBuf};

use anyhow::{Context as _, bail};
use execgate_iam::ServiceUrl;
use execgate_receipt::KeyName;

use super::file::TransparencySection;

/// What the operator says of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Transparency {
    /// The name that a new log takes; of no meaning for one that has a name.
    pub(crate) origin: Option<KeyName>,
    /// Another place for its checkpoint: on another disk than the record, best of all.
    pub(crate) checkpoint_file: Option<PathBuf>,
    /// How many witnesses must agree before anything runs for real, and cosign what proofs of receipts lead to.
    pub(crate) witnesses_required: usize,
}

impl Transparency {
    /// As the file has it. The URL under which others reach the gateway is a name too.
    pub(super) fn of_file(
        section: &TransparencySection,
        public_url: Option<&ServiceUrl>,
        witnesses: usize,
    ) -> anyhow::Result<Self> {
        let witnesses_required = section.witnesses_required.unwrap_or_default();
        if witnesses_required > witnesses {
            bail!(
                "`transparency.witnesses_required` is {witnesses_required}, and `[[witness]]` names {witnesses}: nothing would ever run"
            );
        }
        let given = section.origin.as_deref().filter(|origin| !origin.is_empty()).map(str::to_owned);
        let public_url = public_url.and_then(ServiceUrl::origin);
        let public_url = public_url.as_deref();
        let of_url =
            || public_url.map(|url| format!("{}/log", url.split_once("://").map_or(url, |(_, name)| name)));
        let origin = given.or_else(of_url).map(|origin| origin.parse::<KeyName>()).transpose();
        let file = section.checkpoint_file.as_deref().filter(|path| !path.is_empty());
        Ok(Self {
            origin: origin
                .context("`transparency.origin` is no name: up to 255 bytes without white space and `+`")?,
            checkpoint_file: file
                .map(path::absolute)
                .transpose()
                .context("`transparency.checkpoint_file` is no path")?,
            witnesses_required,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ServiceUrl, Transparency};
    use crate::config::file::TransparencySection;

    fn origin(given: &str, url: Option<&str>) -> Option<String> {
        let section =
            TransparencySection { origin: Some(given.to_owned()), ..TransparencySection::default() };
        let url = url.map(|url| ServiceUrl::new(url).unwrap());
        Transparency::of_file(&section, url.as_ref(), 0).unwrap().origin.map(|origin| origin.to_string())
    }

    #[test]
    fn a_log_is_named_by_the_operator_or_after_the_url_of_the_gateway() {
        assert_eq!(origin("", None), None);
        assert_eq!(origin("", Some("https://gate.example:8443")).as_deref(), Some("gate.example:8443/log"));
        assert_eq!(origin("log.example", Some("https://gate.example")).as_deref(), Some("log.example"));
        let section =
            TransparencySection { origin: Some("two words".to_owned()), ..TransparencySection::default() };
        assert!(Transparency::of_file(&section, None, 0).is_err());
    }

    #[test]
    fn no_more_witnesses_can_be_required_than_there_are() {
        let section = TransparencySection { witnesses_required: Some(2), ..TransparencySection::default() };
        assert_eq!(Transparency::of_file(&section, None, 2).unwrap().witnesses_required, 2);
        let refused = Transparency::of_file(&section, None, 1).unwrap_err().to_string();
        assert!(refused.contains("witnesses_required"), "{refused}");
    }
}
