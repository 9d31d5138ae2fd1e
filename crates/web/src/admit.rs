//! Who may administer. Sole boundary between callers and the administration. Every change here needs a second reader.
//!
//! On the socket the kernel says who asks: the user of this process, and root; nobody else, whatever the mode of the
//! file has become. On a listener the key of a grant does, of the gateway's own tenant and with the role that the route
//! asks for. What cannot be told is refused.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use execgate_flow::administer::By;
use execgate_flow::authorise::Holder;
use execgate_model::Role;

use crate::caller::{API_KEY, refused, shown_key};
use crate::doors::check;
use crate::office::Office;
use crate::peer::Peer;
use crate::problem::Problem;

/// Somebody who has been let in. Only [`admit`] makes one.
#[derive(Debug, Clone)]
pub(crate) enum Administrator {
    /// Whoever may read the files of the record: the user of this process, or root.
    Operator { uid: u32 },
    /// Whoever has the key of a grant.
    Holder(Holder),
}

impl Administrator {
    /// Who it is, for what is said of a change.
    pub(crate) fn by(&self) -> By {
        match self {
            Self::Operator { uid } => By::Operator { uid: *uid },
            Self::Holder(holder) => By::Grant(holder.grant().id.clone()),
        }
    }

    /// Whether this one may ask for what is there for these roles. An admin may ask for everything.
    fn may(&self, roles: &[Role]) -> bool {
        match self {
            Self::Operator { .. } => true,
            Self::Holder(holder) => holder.has(Role::Admin) || roles.iter().any(|role| holder.has(*role)),
        }
    }
}

/// The middleware before every handler.
pub(crate) async fn admit(State(office): State<Arc<Office>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    match recognise(&office, peer, request.headers()).await {
        Ok(administrator) => {
            request.extensions_mut().insert(administrator);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// The middleware before the handler of one route.
pub(crate) async fn ask_role(roles: &'static [Role], request: Request, next: Next) -> Response {
    match request.extensions().get::<Administrator>() {
        Some(administrator) if administrator.may(roles) => next.run(request).await,
        Some(_) | None => {
            Problem::role_missing(roles.first().copied().unwrap_or(Role::Admin)).into_response()
        }
    }
}

async fn recognise(
    office: &Office,
    peer: Option<Peer>,
    headers: &HeaderMap,
) -> Result<Administrator, Problem> {
    check(&office.doors, headers)?;
    match peer {
        Some(Peer::User { uid }) if uid == 0 || uid == office.parts.operator_uid => {
            if headers.contains_key(AUTHORIZATION) || headers.contains_key(API_KEY) {
                let detail = "the socket knows its callers by their user id; show no key here";
                return Err(Problem::unauthorised("key-on-socket", detail));
            }
            Ok(Administrator::Operator { uid })
        }
        Some(Peer::Network { .. }) => {
            let key = shown_key(headers)?.ok_or_else(Problem::grant_required)?;
            let holder = office.parts.grants.recognise(&key).await.map_err(refused)?;
            if holder.grant().tenant != office.parts.tenant {
                return Err(Problem::foreign_tenant());
            }
            Ok(Administrator::Holder(holder))
        }
        Some(Peer::User { .. }) | None => Err(Problem::not_the_operator()),
    }
}
