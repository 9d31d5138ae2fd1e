//! Who wants to know when its list of tools, resources or prompts is another one (`subscriptions/listen` of 2026-07-28; over a
//! pipe, and by the stream of a session, the revisions before it are told unasked).
//!
//! Nothing is said of what has changed: whoever is told asks for the list anew, and sees what its rules leave it then. What
//! they leave nothing of is not told of.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use execgate_model::{Caller, Digest};
use rmcp::model::SubscriptionFilter;
use rmcp::service::SubscriptionSink;
use rmcp::{ErrorData, Peer, RoleServer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::desk::{Asker, Desk};

/// How often is looked whether anything has changed: people change rules and accept tools by hand, and a look takes some µs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For how long one is told at the most: then it comes again, and shows once more who it is.
const LISTENS: Duration = Duration::from_hours(1);

/// The most that listen to one gateway at once: each keeps a connection.
const LISTENERS_MAX: usize = 256;

/// The most of them of whom nobody knows who they are: they must not have all places.
const STRANGERS_MAX: usize = LISTENERS_MAX / 4;

/// The places of those who listen.
#[derive(Debug)]
pub(crate) struct Listeners {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// The place of one of them, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Place {
    _among_all: OwnedSemaphorePermit,
    _among_strangers: Option<OwnedSemaphorePermit>,
}

impl Default for Listeners {
    fn default() -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self { all: places(LISTENERS_MAX), strangers: places(STRANGERS_MAX) }
    }
}

impl Listeners {
    /// A place for one more; none where all are taken that it may have.
    pub(super) fn place(&self, caller: &Caller) -> Option<Place> {
        let one_of = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        let among_strangers = if caller.is_identified() { None } else { Some(one_of(&self.strangers)?) };
        Some(Place { _among_all: one_of(&self.all)?, _among_strangers: among_strangers })
    }
}

/// A list that is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    Tools,
    Resources,
    Prompts,
}

impl News {
    /// How it is told.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Resources => "notifications/resources/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
        }
    }

    /// Whether somebody has asked to be told of it.
    fn is_wanted(self, filter: &SubscriptionFilter) -> bool {
        let wanted = match self {
            Self::Tools => filter.tools_list_changed,
            Self::Resources => filter.resources_list_changed,
            Self::Prompts => filter.prompts_list_changed,
        };
        wanted == Some(true)
    }

    /// Tells it where it was asked for; false where nobody hears it.
    pub(super) async fn tell(self, sink: &SubscriptionSink) -> bool {
        if !self.is_wanted(sink.accepted()) {
            return true;
        }
        let told = match self {
            Self::Tools => sink.notify_tool_list_changed().await,
            Self::Resources => sink.notify_resource_list_changed().await,
            Self::Prompts => sink.notify_prompt_list_changed().await,
        };
        told.is_ok()
    }

    /// Tells it unasked; false where nobody hears it.
    pub(super) async fn tell_unasked(self, peer: &Peer<RoleServer>) -> bool {
        let told = match self {
            Self::Tools => peer.notify_tool_list_changed().await,
            Self::Resources => peer.notify_resource_list_changed().await,
            Self::Prompts => peer.notify_prompt_list_changed().await,
        };
        told.is_ok()
    }
}

/// What a caller sees of a desk: what names each of its lists, as far as its rules leave anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) tools: Digest,
    pub(crate) resources: Digest,
    pub(crate) prompts: Digest,
}

impl View {
    /// That of a desk that has nothing but tools.
    pub(super) const fn of_tools(tools: Digest) -> Self {
        let nothing = Digest::from_bytes([0; 32]);
        Self { tools, resources: nothing, prompts: nothing }
    }

    /// What is another one since.
    fn since(self, before: Self) -> Vec<News> {
        let lists = [
            (News::Tools, self.tools == before.tools),
            (News::Resources, self.resources == before.resources),
            (News::Prompts, self.prompts == before.prompts),
        ];
        lists.into_iter().filter(|(_, is_same)| !is_same).map(|(news, _)| news).collect()
    }
}

/// As the name of an event of a stream: whoever comes again with it is told what has changed meanwhile.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.tools, self.resources, self.prompts)
    }
}

impl View {
    /// The view of such a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let mut parts = name.split('-').map(|part| part.parse().ok());
        let view = Self { tools: parts.next()??, resources: parts.next()??, prompts: parts.next()?? };
        parts.next().is_none().then_some(view)
    }
}

/// What somebody has seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// What it was made of; none where it was seen by another connection.
    edition: Option<Digest>,
    pub(super) view: View,
}

impl Seen {
    /// What there is to see now.
    pub(super) async fn now(desk: &dyn Desk, asker: &Asker) -> Result<Self, ErrorData> {
        // Of before the view: what changes meanwhile is looked at again.
        let edition = desk.edition(asker).await?;
        Ok(Self { edition: Some(edition), view: desk.view(asker).await? })
    }

    /// What was seen some time ago.
    pub(super) const fn before(view: View) -> Self {
        Self { edition: None, view }
    }
}

/// Somebody who is told of changes.
pub(super) struct Listener<'d> {
    desk: &'d dyn Desk,
    asker: &'d Asker,
    /// What it was shown last.
    seen: Option<Seen>,
    /// Until when; for ever where its connection is its own proof of who it is.
    until: Option<Instant>,
}

impl<'d> Listener<'d> {
    /// Whoever has asked by a request, and knows what there was to see then.
    pub(super) fn begin(desk: &'d dyn Desk, asker: &'d Asker, seen: Seen) -> Self {
        Self { desk, asker, seen: Some(seen), until: Some(Instant::now() + LISTENS) }
    }

    /// Whoever is at the other end of a pipe, and knows what there was to see when that began.
    pub(super) const fn at_a_pipe(desk: &'d dyn Desk, asker: &'d Asker, seen: Option<Seen>) -> Self {
        Self { desk, asker, seen, until: None }
    }

    /// What it was shown last.
    pub(super) fn seen(&self) -> Option<View> {
        self.seen.map(|seen| seen.view)
    }

    /// Waits until a list is another one. None where there is no more to wait for: its time is over, it may not come in any
    /// more, or the gateway shuts down.
    pub(super) async fn changed(&mut self) -> Option<Vec<News>> {
        while self.until.is_none_or(|until| Instant::now() < until) {
            sleep(LOOK_EVERY).await;
            if self.desk.house().is_some_and(|house| house.parts.corridor.is_draining()) {
                break;
            }
            match self.look().await {
                Ok(news) if news.is_empty() => {}
                Ok(news) => return Some(news),
                Err(_) if self.until.is_none() => {}
                Err(_) => break,
            }
        }
        None
    }

    /// What has changed since it looked last. What a view is made of is cheap to have, and says that nothing has.
    async fn look(&mut self) -> Result<Vec<News>, ErrorData> {
        let edition = self.desk.edition(self.asker).await?;
        if self.seen.is_some_and(|seen| seen.edition == Some(edition)) {
            return Ok(Vec::new());
        }
        let view = self.desk.view(self.asker).await?;
        let before = self.seen.replace(Seen { edition: Some(edition), view });
        Ok(before.map_or_else(|| vec![News::Tools], |before| view.since(before.view)))
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::{Caller, Digest, Identity, TenantId};

    use super::{LISTENERS_MAX, Listeners, News, STRANGERS_MAX, View};

    #[test]
    fn a_view_is_found_by_its_name_and_says_what_has_changed_since() {
        let digest = |byte| Digest::from_bytes([byte; 32]);
        let before = View { tools: digest(1), resources: digest(2), prompts: digest(3) };
        assert_eq!(View::named(&before.to_string()), Some(before));
        for bad in ["", "1", &before.to_string()[1..], &format!("{before}-{}", digest(4))] {
            assert_eq!(View::named(bad), None, "{bad}");
        }
        assert_eq!(before.since(before), []);
        let now = View { tools: digest(4), prompts: digest(5), ..before };
        assert_eq!(now.since(before), [News::Tools, News::Prompts]);
    }

    #[test]
    fn strangers_do_not_have_all_places() {
        let listeners = Listeners::default();
        let by = |identity| Caller { tenant: TenantId::new("default").unwrap(), identity };
        let stranger = by(Identity::Session { id: "a".to_owned(), is_new: false });
        let mut places: Vec<_> = (0..STRANGERS_MAX).map(|_| listeners.place(&stranger).unwrap()).collect();
        assert!(listeners.place(&stranger).is_none());
        let local = by(Identity::Local);
        places.extend((STRANGERS_MAX..LISTENERS_MAX).map(|_| listeners.place(&local).unwrap()));
        assert!(listeners.place(&local).is_none());
        drop(places.remove(0));
        assert!(listeners.place(&stranger).is_some());
    }
}
