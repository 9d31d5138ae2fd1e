//! The way to a witness of the log: the operator's own URL, one bounded exchange at a time, no redirect.

use core::error::Error;
use core::time::Duration;

use execgate_flow::log::{WitnessAnswer, WitnessLine};
use execgate_model::BoxFuture;
use execgate_receipt::VerifierKey;
use tokio::time::timeout;

use crate::exchange::Line;
use crate::{ServiceUrl, TlsError};

/// How long a witness may take: it syncs a file.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What is below the URL of a witness (C2SP tlog-witness).
const ADD_CHECKPOINT: &str = "add-checkpoint";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum WitnessFault {
    #[error("it did not answer in time")]
    Late,
    #[error("it answered something other than text")]
    NoText,
}

/// A witness that is reached over HTTP.
pub struct WitnessClient {
    line: Line,
    key: VerifierKey,
}

impl WitnessClient {
    /// A witness at an address, which is known by this key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(url: ServiceUrl, key: VerifierKey) -> Result<Self, TlsError> {
        Ok(Self { line: Line::new(url)?, key })
    }

    async fn exchange(&self, request: String) -> Result<WitnessAnswer, Box<dyn Error + Send + Sync>> {
        let asked = timeout(ANSWER_TIME, self.line.submit(ADD_CHECKPOINT, request.into_bytes()));
        let reply = asked.await.map_err(|_| WitnessFault::Late)??;
        let text = || str::from_utf8(&reply.body);
        Ok(match reply.status {
            200 => WitnessAnswer::Cosigned(text().map_err(|_| WitnessFault::NoText)?.to_owned()),
            409 => match text().ok().and_then(size) {
                Some(size) => WitnessAnswer::Stale(size),
                None => WitnessAnswer::Refused(409),
            },
            status => WitnessAnswer::Refused(status),
        })
    }
}

/// A size on a line of its own.
fn size(text: &str) -> Option<u64> {
    let line = text.strip_suffix('\n')?;
    line.parse().ok().filter(|size: &u64| size.to_string() == line)
}

impl WitnessLine for WitnessClient {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn submit(&self, request: String) -> BoxFuture<'_, Result<WitnessAnswer, Box<dyn Error + Send + Sync>>> {
        Box::pin(self.exchange(request))
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn a_size_is_a_number_and_a_newline() {
        assert_eq!((size("0\n"), size("20852014\n")), (Some(0), Some(20_852_014)));
        for other in ["", "\n", "1", "01\n", "+1\n", "1\n\n", "18446744073709551616\n", "{\"size\":1}"] {
            assert_eq!(size(other), None, "{other:?}");
        }
    }
}
