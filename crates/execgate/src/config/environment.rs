//! The environment names that are kept (PRODUCT A and C). Nothing else in the binary reads the environment.

use zeroize::Zeroizing;

/// What the environment says, as texts; an empty value is as good as none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    pub(crate) port: Option<String>,
    pub(crate) openexec_mode: Option<String>,
    pub(crate) clawshield_public_key: Option<String>,
    pub(crate) clawshield_tenant_id: Option<String>,
    pub(crate) allowed_actions: Option<String>,
    pub(crate) openexec_db_url: Option<String>,
    pub(crate) database_url: Option<String>,
    pub(crate) log_file: Option<String>,
    pub(crate) payment_wallet: Option<String>,
    pub(crate) ep_guard_url: Option<String>,
    pub(crate) achilles_agent_id: Option<String>,
    pub(crate) home: Option<String>,
    pub(crate) xdg_cache_home: Option<String>,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Self {
        let get = |name: &str| {
            #[expect(clippy::disallowed_methods, reason = "this is the config that reads it")]
            std::env::var(name).ok().filter(|value| !value.is_empty())
        };
        Self {
            port: get("PORT"),
            openexec_mode: get("OPENEXEC_MODE"),
            clawshield_public_key: get("CLAWSHIELD_PUBLIC_KEY"),
            clawshield_tenant_id: get("CLAWSHIELD_TENANT_ID"),
            allowed_actions: get("OPENEXEC_ALLOWED_ACTIONS"),
            openexec_db_url: get("OPENEXEC_DB_URL"),
            database_url: get("DATABASE_URL"),
            log_file: get("LOG_FILE"),
            payment_wallet: get("PAYMENT_WALLET"),
            ep_guard_url: get("EP_GUARD_URL"),
            achilles_agent_id: get("ACHILLES_AGENT_ID"),
            home: get("HOME"),
            xdg_cache_home: get("XDG_CACHE_HOME"),
        }
    }

    /// The variable that holds a secret. It is not kept here, where it would be shown.
    pub(crate) fn secret(name: &str) -> Option<Zeroizing<String>> {
        #[expect(clippy::disallowed_methods, reason = "this is the config that reads it")]
        std::env::var(name).ok().map(Zeroizing::new)
    }

    /// Only what says where the record is: for commands of the operator.
    pub(crate) fn for_record(self) -> Self {
        Self {
            openexec_db_url: self.openexec_db_url,
            database_url: self.database_url,
            payment_wallet: self.payment_wallet,
            ..Self::default()
        }
    }

    /// The same, and where the log goes: for a proxy, whose rules its own command line names.
    pub(crate) fn for_proxy(self) -> Self {
        let (home, xdg_cache_home) = (self.home.clone(), self.xdg_cache_home.clone());
        let log_file = self.log_file.clone();
        Self { home, xdg_cache_home, log_file, payment_wallet: None, ..self.for_record() }
    }

    /// Only what says where this user's files lie: for commands that are no gateway.
    pub(crate) fn without_gateway(self) -> Self {
        Self { home: self.home, xdg_cache_home: self.xdg_cache_home, ..Self::default() }
    }
}
