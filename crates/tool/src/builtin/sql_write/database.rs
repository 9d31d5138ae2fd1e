//! The operator's database: one connection for each call, one transaction on it, and what its end says of what was done.
//!
//! Nothing that is told names the DSN or a part of it. Every change here needs a second reader: what is called certain
//! here is never run again, and what is not is unknown.

use core::fmt;
use core::time::Duration;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use execgate_model::RunId;
use rustls_native_certs::load_native_certs;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::parameter::Parameter;
use super::tls::Safe;
use crate::{NotStarted, Secret};

/// How long one address may take to take the connection.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);

/// The database that `sql_write` writes to. It shows nothing of its DSN.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: Safe,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

/// Why a DSN is none that can be used. None of these tells it.
#[derive(Debug, thiserror::Error)]
pub enum BadDatabase {
    /// It cannot be read.
    #[error("the secret is no DSN of PostgreSQL, such as postgres://user:password@host/database")]
    Form,
    /// It names no host.
    #[error("the DSN names no host")]
    NoHost,
    /// Its password would go in clear text.
    #[error("a database on another machine is reached over TLS alone: the DSN must not say sslmode=disable")]
    Clear,
    /// No certificate can be checked.
    #[error("the certificates that it is checked with cannot be read")]
    Certificates,
}

/// What a transaction left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It was committed; rows that the statement counts.
    Committed(u64),
    /// It was not: the database's own words.
    RolledBack {
        /// The SQLSTATE.
        state: String,
        /// The message.
        message: String,
    },
    /// Its time was over before the commit.
    Late,
}

/// Why nothing is known of a transaction, or nothing was begun.
#[derive(Debug)]
pub(super) enum Gone {
    /// Nothing was sent that writes.
    NotBegun(NotStarted),
    /// The connection was lost before the commit: the database rolls back.
    BeforeCommit,
    /// The end of the commit is lost.
    AtCommit(&'static str),
}

impl Database {
    /// Reads the DSN that a secret is. `ca_file`: certificates in PEM that its own is checked with, in the place of the
    /// host's.
    ///
    /// # Errors
    /// [`BadDatabase`].
    pub fn new(dsn: &Secret, ca_file: Option<&Path>) -> Result<Self, BadDatabase> {
        let mut config: Config = dsn.reveal().parse().map_err(|_| BadDatabase::Form)?;
        if config.get_hosts().is_empty() {
            return Err(BadDatabase::NoHost);
        }
        let is_near =
            config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        if !is_near {
            if config.get_ssl_mode() == SslMode::Disable {
                return Err(BadDatabase::Clear);
            }
            config.ssl_mode(SslMode::Require);
        }
        config.connect_timeout(CONNECTS_WITHIN);
        Ok(Self { config, tls: Safe(roots(ca_file)?) })
    }

    /// Runs one statement in a transaction of its own, for a run.
    pub(super) async fn write(
        &self,
        run: RunId,
        statement: &str,
        parameters: &[Parameter],
        until: Instant,
    ) -> Result<Done, Gone> {
        let (client, driver) = self.connect(run, until).await?;
        let left = until.saturating_duration_since(Instant::now());
        let worked = timeout_at(until, statement_in(&client, statement, parameters, left)).await;
        let rows = match worked {
            // The connection ends with the client, and with it the transaction.
            Err(_elapsed) => return Ok(Done::Late),
            Ok(Err(error)) => return ended_before_commit(&error),
            Ok(Ok(Worked::Rows(rows))) => rows,
            Ok(Ok(Worked::Miscounted(wanted))) => {
                let came = parameters.len();
                let message = format!("the statement has {wanted} parameters, and {came} came");
                return Ok(Done::RolledBack {
                    state: SqlState::PROTOCOL_VIOLATION.code().to_owned(),
                    message,
                });
            }
        };
        let committed = timeout_at(until, client.batch_execute("COMMIT")).await;
        drop(driver);
        match committed {
            Err(_elapsed) => Err(Gone::AtCommit("its time was over while it was committed")),
            Ok(Ok(())) => Ok(Done::Committed(rows)),
            Ok(Err(error)) => ended_at_commit(&error),
        }
    }

    async fn connect(&self, run: RunId, until: Instant) -> Result<(Client, JoinSet<()>), Gone> {
        let not = |why: &str| {
            let why = format!("the database of `sql_write` {why}");
            Gone::NotBegun(NotStarted::Unavailable(why))
        };
        let mut config = self.config.clone();
        config.application_name(format!("execgate {run}"));
        let connected = timeout_at(until, config.connect(self.tls.clone())).await;
        let (client, connection) = match connected {
            Err(_elapsed) => return Err(not("did not answer in time")),
            Ok(Err(error)) => {
                let state = error.code().map_or("none", SqlState::code);
                tracing::error!(%run, state, "the database of `sql_write` cannot be reached");
                return Err(not("cannot be reached"));
            }
            Ok(Ok(connected)) => connected,
        };
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What goes wrong here, the client is told.
            drop(connection.await);
        });
        Ok((client, driver))
    }
}

/// What a statement has done that the database took.
enum Worked {
    /// It ran; rows that it counts.
    Rows(u64),
    /// It did not: it has so many parameters.
    Miscounted(usize),
}

/// Begins a transaction, and runs the statement in it.
async fn statement_in(
    client: &Client,
    statement: &str,
    parameters: &[Parameter],
    left: Duration,
) -> Result<Worked, Error> {
    let left_ms = left.as_millis().max(1);
    // Durable is on disk (CONTRACTS 5), whatever the role says.
    let begin = format!(
        "BEGIN; SET LOCAL statement_timeout = {left_ms}; SET LOCAL lock_timeout = {left_ms}; \
         SET LOCAL idle_in_transaction_session_timeout = {left_ms}; SET LOCAL synchronous_commit = on"
    );
    client.batch_execute(&begin).await?;
    let prepared = client.prepare(statement).await?;
    let wanted = prepared.params().len();
    // The library panics on another number.
    if wanted != parameters.len() {
        return Ok(Worked::Miscounted(wanted));
    }
    let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as _).collect();
    client.execute(&prepared, &parameters).await.map(Worked::Rows)
}

/// A fault before the commit was sent: the database has kept nothing, or will keep nothing.
fn ended_before_commit(error: &Error) -> Result<Done, Gone> {
    match error.as_db_error() {
        Some(said) if said.code() == &SqlState::QUERY_CANCELED => Ok(Done::Late),
        Some(said) => Ok(rolled_back(said)),
        None => Err(Gone::BeforeCommit),
    }
}

/// A fault at the commit: only an error of the transaction itself says that it was rolled back.
fn ended_at_commit(error: &Error) -> Result<Done, Gone> {
    let Some(said) = error.as_db_error() else { return Err(Gone::AtCommit("the connection was lost")) };
    let is_doubtful =
        [&SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN, &SqlState::TRANSACTION_RESOLUTION_UNKNOWN]
            .contains(&said.code());
    if said.parsed_severity() == Some(Severity::Error) && !is_doubtful {
        return Ok(rolled_back(said));
    }
    Err(Gone::AtCommit("the database ended the connection"))
}

fn rolled_back(said: &DbError) -> Done {
    Done::RolledBack { state: said.code().code().to_owned(), message: said.message().to_owned() }
}

/// Whether nobody is between.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// What certificates are checked with.
fn roots(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, BadDatabase> {
    let certificates: Vec<CertificateDer<'static>> = match ca_file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|_| BadDatabase::Certificates)?,
        None => load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if ca_file.is_some() && added == 0 {
        return Err(BadDatabase::Certificates);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|_| BadDatabase::Certificates)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{BadDatabase, Database, SslMode};
    use crate::Secret;

    fn database(dsn: &str) -> Result<Database, BadDatabase> {
        Database::new(&Secret::new("SQL", Zeroizing::new(dsn.to_owned())).unwrap(), None)
    }

    #[test]
    fn a_password_goes_over_no_network_in_clear() {
        let far = database("postgres://app:hush@db.example/app").unwrap();
        assert_eq!(far.config.get_ssl_mode(), SslMode::Require);
        assert!(!format!("{far:?}").contains("hush"));
        let clear = database("postgres://app:hush@db.example/app?sslmode=disable");
        assert!(matches!(clear, Err(BadDatabase::Clear)));
        let mixed = database("postgres://app:hush@localhost,db.example/app").unwrap();
        assert_eq!(mixed.config.get_ssl_mode(), SslMode::Require);
        let near = database("postgres://app:hush@127.0.0.1/app?sslmode=disable").unwrap();
        assert_eq!(near.config.get_ssl_mode(), SslMode::Disable);
        assert!(database("host=/run/postgresql user=app").is_ok());
    }

    #[test]
    fn what_is_no_dsn_is_refused_and_not_told() {
        for dsn in ["mysql://app:hush@localhost/app", "what is hush", "user=app password=hush"] {
            let told = database(dsn).err().map(|bad| bad.to_string()).unwrap();
            assert!(!told.contains("hush"), "{told}");
        }
    }
}
