//! The database that `sql_write` writes to: the operator's own, by a secret, and never the record's.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use execgate_tool::builtin::Database;

use super::Actions;
use super::file::File;

/// As it is configured; its DSN is not read yet.
#[derive(Debug, Clone)]
pub(crate) struct SqlSetting {
    secret: String,
    ca_file: Option<PathBuf>,
}

impl SqlSetting {
    /// The section, if it is there.
    pub(super) fn of_file(file: &File) -> anyhow::Result<Option<Self>> {
        let Some(section) = &file.sql_write else { return Ok(None) };
        let ca_file = section.ca_file.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from);
        if ca_file.as_ref().is_some_and(|path| !path.is_absolute()) {
            bail!("`sql_write.ca_file` is no absolute path");
        }
        Ok(Some(Self { secret: section.dsn.clone(), ca_file }))
    }

    /// Reads the DSN, with whatever rights this process still has. `record`: where the record is, if the operator has said it.
    pub(crate) fn load(&self, actions: &Actions, record: Option<&str>) -> anyhow::Result<Database> {
        let secrets = actions.secrets()?;
        let dsn = secrets.find(&self.secret).context("`sql_write.dsn` names no section [secrets.…]")?;
        if record.is_some_and(|record| dsn.is(record)) {
            bail!("`sql_write.dsn` is the database of the record: a caller's statement must never reach it");
        }
        Database::new(dsn, self.ca_file.as_deref()).context("`sql_write` cannot be served")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::SqlSetting;
    use crate::config::Actions;
    use crate::config::file::File;

    #[test]
    fn a_dsn_comes_from_a_secret_is_not_the_records_and_is_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dsn");
        let load = |dsn: &str, more: &str, record: Option<&str>| {
            fs::write(&path, dsn).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let text = format!("[secrets.SQL]\nfile = \"{}\"\n[sql_write]\n{more}", path.display());
            let file: File = toml::from_str(&text).unwrap();
            let setting = SqlSetting::of_file(&file).map_err(|error| format!("{error:#}"))?;
            let loaded = setting.unwrap().load(&Actions::declared(&file, None), record);
            loaded.map(drop).map_err(|error| format!("{error:#}"))
        };
        let dsn = "postgres://app:hush-hush@localhost/app";
        assert_eq!(load(dsn, "dsn = \"SQL\"", None), Ok(()));
        assert_eq!(load(dsn, "dsn = \"SQL\"", Some("postgres://other@localhost/app")), Ok(()));
        for (dsn, more, record, why) in [
            (dsn, "dsn = \"OTHER\"", None, "names no section"),
            (dsn, "dsn = \"SQL\"", Some(dsn), "database of the record"),
            ("mysql://app:hush-hush@localhost/app", "dsn = \"SQL\"", None, "no DSN of PostgreSQL"),
            ("postgres://app:hush-hush@db.example/app?sslmode=disable", "dsn = \"SQL\"", None, "TLS alone"),
            (dsn, "dsn = \"SQL\"\nca_file = \"ca.pem\"", None, "absolute"),
            (dsn, "dsn = \"SQL\"\nca_file = \"/dev/null\"", None, "certificates"),
        ] {
            let told = load(dsn, more, record).unwrap_err();
            assert!(told.contains(why) && !told.contains("hush"), "{told}");
        }
    }
}
