//! The way to a service of others by which a method of the scheme `Payment` takes money.

use core::time::Duration;

use execgate_model::BoxFuture;
use execgate_payment::mpp::{Answer, Exchange, NoAnswer, Question};
use hyper::{Method, StatusCode};

use crate::line::{Line, LineError};

/// How long a service may take: shorter than a caller's own patience.
const PATIENCE: Duration = Duration::from_secs(25);

/// A service.
#[derive(Clone)]
pub struct Service(Line);

impl Service {
    /// The service at an address.
    ///
    /// # Errors
    /// As [`Line::new`].
    pub fn new(address: &str) -> Result<Self, LineError> {
        Line::new(address, PATIENCE).map(Self)
    }
}

impl Exchange for Service {
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<Answer, NoAnswer>> {
        Box::pin(async move {
            let Question { path, headers, body } = question;
            let method = if body.is_some() { Method::POST } else { Method::GET };
            let asked = self.0.question(method, &path, &headers, body.unwrap_or_default()).await;
            // What was sent is in no error.
            let reply = asked.map_err(|error| NoAnswer(error.to_string()))?;
            if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].iter().any(|status| *status == reply.status)
            {
                let status = reply.status;
                tracing::error!(
                    status,
                    "a service that takes payments refuses our own key: nothing is sold by it meanwhile"
                );
            }
            Ok(Answer { status: reply.status, body: reply.body.to_vec() })
        })
    }
}
