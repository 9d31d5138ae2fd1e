//! The tool.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{BoxFuture, Effect, Namespace, Product, Verdict};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::database::{Database, Done, Gone};
use super::parameter::Parameter;
use super::statement::{RULE, is_taken};
use crate::arguments::Arguments;
use crate::compute::{Ended, Raised, timed_out, wall};
use crate::names::Blocked;
use crate::pure::Computed;
use crate::{BadCall, Call, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

/// The longest statement, in bytes.
const STATEMENT_BYTES_MAX: usize = 64 << 10;

/// The most parameters of one.
const PARAMETERS_MAX: usize = 1_000;

/// Calls at the same time, each a connection: a database has a hundred for everybody.
const PLACES: usize = 8;

/// Writes to the operator's database.
pub struct SqlWrite {
    blocked: Blocked,
    database: Arc<Database>,
    places: Arc<Semaphore>,
}

impl SqlWrite {
    /// The tool over a database.
    #[must_use]
    pub fn new(database: Database) -> Option<Self> {
        let blocked = Blocked::find("sql_write", Namespace::Tools)?;
        Some(Self { blocked, database: Arc::new(database), places: Arc::new(Semaphore::new(PLACES)) })
    }
}

impl Tool for SqlWrite {
    fn name(&self) -> &str {
        self.blocked.name
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Runs one statement in the operator's database, once somebody has approved it.".into(),
            schema: self.blocked.schema(),
        }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        let example = r#"{"statement": "UPDATE stock SET count = count - 1 WHERE id = $1", "params": [7]}"#;
        let arguments = Arguments::of(call.payload, &["statement", "params"], example)?;
        let statement = arguments.short_text("statement", STATEMENT_BYTES_MAX)?;
        if !is_taken(statement) || statement.contains('\0') {
            return Err(arguments.bad("statement", RULE));
        }
        let parameters = arguments.maybe_list("params")?.unwrap_or_default();
        if parameters.len() > PARAMETERS_MAX {
            return Err(arguments.bad("params", &format!("has at most {PARAMETERS_MAX}")));
        }
        let wall = wall(call.options)?;
        if call.effect == Effect::DryRun {
            let would =
                json!({"statement_bytes": statement.len(), "params": parameters.len(), "simulated": true});
            return Ok(Box::new(Computed(would)));
        }
        Ok(Box::new(PreparedStatement {
            database: Arc::clone(&self.database),
            places: Arc::clone(&self.places),
            statement: statement.to_owned(),
            parameters: parameters.iter().cloned().map(Parameter).collect(),
            wall,
            place: None,
        }))
    }
}

/// A checked statement.
struct PreparedStatement {
    database: Arc<Database>,
    places: Arc<Semaphore>,
    statement: String,
    parameters: Vec<Parameter>,
    wall: Duration,
    place: Option<OwnedSemaphorePermit>,
}

impl Prepared for PreparedStatement {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        self.place = Some(place.map_err(|_full| NotStarted::Full)?);
        Ok(())
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let until = Instant::now() + self.wall;
            let written = self.database.write(context.run, &self.statement, &self.parameters, until).await;
            drop(self.place);
            match written {
                Ok(done) => Ok(product(done, self.wall)),
                Err(Gone::NotBegun(why)) => Err(why.into()),
                Err(Gone::BeforeCommit) => Ok(raised(
                    "ConnectionLost",
                    "the connection to the database was lost before anything was committed: nothing was written",
                    self.wall,
                )),
                Err(Gone::AtCommit(why)) => Err(RunFault::Lost(why.to_owned())),
            }
        })
    }
}

fn product(done: Done, wall: Duration) -> Product {
    match done {
        Done::Committed(rows) => Product {
            verdict: Verdict::Value,
            result: json!({"rows_affected": rows}),
            error: None,
            enforced: json!({"sql": {"transaction": "one", "statement_timeout_ms": wall.as_millis()}}),
        },
        Done::RolledBack { state, message } => {
            raised("SqlError", &format!("{message} (SQLSTATE {state}); nothing was written"), wall)
        }
        Done::Late => timed_out(wall),
    }
}

fn raised(name: &str, message: &str, wall: Duration) -> Product {
    Ended::Raised(Raised::new(name, message)).product(wall)
}
