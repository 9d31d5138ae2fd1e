//! The audit trail: whole lines, every line once in every order, and no more of them than are kept.

use execgate_model::{Effect, UnixMs};
use execgate_store::{AuditDecision, AuditEntry, AuditLine, AuditOrder, AuditQuery, Store};

use super::runs::{Backend, digest, run_id};

/// Line `number`; three of them share one time.
fn line(number: u16) -> AuditLine {
    AuditLine {
        at: UnixMs(1_000 + u64::from(number / 3)),
        tenant: "acme".to_owned(),
        caller: format!("grant:g{}", number % 2),
        surface: "secure-exec".to_owned(),
        action: "echo".to_owned(),
        effect: if number.is_multiple_of(2) { Effect::Live } else { Effect::DryRun },
        run: Some(run_id(number)),
        has_nonce: true,
        decision: AuditDecision::ALL[usize::from(number) % AuditDecision::ALL.len()],
        room: "authorise".to_owned(),
        rule: format!("/tools/{}", number % 5),
        outcome: Some("value".to_owned()),
        iam: Some("approved".to_owned()),
        argument_keys: vec!["a".to_owned(), "b \"c\"".to_owned()],
        args_digest: Some(digest(1, number)),
        policy: Some(digest(2, number)),
        rooms: vec![("propose".to_owned(), 12), ("pay".to_owned(), 3)],
        total_us: 15,
        omitted: 0,
    }
}

fn bare(number: u16) -> AuditLine {
    AuditLine {
        run: None,
        outcome: None,
        iam: None,
        argument_keys: Vec::new(),
        args_digest: None,
        policy: None,
        rooms: Vec::new(),
        has_nonce: false,
        omitted: 7,
        ..line(number)
    }
}

fn all(order: AuditOrder) -> AuditQuery {
    AuditQuery { order, limit: 7, ..AuditQuery::default() }
}

/// Every line of a query, page by page.
async fn pages(store: &dyn Store, query: AuditQuery) -> Vec<AuditEntry> {
    let mut found = Vec::new();
    let mut query = query;
    loop {
        let page = store.audit(query.clone()).await.unwrap();
        let Some(last) = page.last() else { return found };
        assert!(page.len() <= 7);
        query.after = Some(last.place);
        found.extend(page);
    }
}

fn lines(entries: Vec<AuditEntry>) -> Vec<AuditLine> {
    entries.into_iter().map(|entry| entry.line).collect()
}

pub(crate) async fn a_line_of_the_trail_reads_back_whole(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    one.note_audit(vec![line(1), bare(2)], Vec::new()).await.unwrap();
    let read = two.audit(all(AuditOrder::Written)).await.unwrap();
    assert_eq!(lines(read), [line(1), bare(2)]);
}

pub(crate) async fn every_order_shows_every_line_once(backend: &impl Backend) {
    let store = backend.open();
    // Written in another order than that of their times.
    let written: Vec<_> = [0_u16, 20, 10].into_iter().flat_map(|from| (from..from + 10).map(line)).collect();
    store.note_audit(written.clone(), Vec::new()).await.unwrap();
    assert_eq!(lines(pages(store.as_ref(), all(AuditOrder::Written)).await), written);
    let oldest = pages(store.as_ref(), all(AuditOrder::Oldest)).await;
    assert_eq!(oldest.len(), 30);
    assert!(oldest.is_sorted_by_key(|entry| entry.place));
    let mut newest = pages(store.as_ref(), all(AuditOrder::Newest)).await;
    newest.reverse();
    assert_eq!(newest, oldest);
}

pub(crate) async fn a_query_selects_by_what_it_names(backend: &impl Backend) {
    let store = backend.open();
    let written: Vec<_> = (0..30).map(line).collect();
    store.note_audit(written.clone(), Vec::new()).await.unwrap();
    let orders = [AuditOrder::Newest, AuditOrder::Oldest, AuditOrder::Written];
    type Selects = fn(&AuditLine) -> bool;
    let cases: [(AuditQuery, Selects); 7] = [
        (AuditQuery { since: Some(UnixMs(1_004)), ..all(AuditOrder::Newest) }, |line| line.at.0 >= 1_004),
        (AuditQuery { until: Some(UnixMs(1_004)), ..all(AuditOrder::Newest) }, |line| line.at.0 < 1_004),
        (
            AuditQuery {
                since: Some(UnixMs(1_002)),
                until: Some(UnixMs(1_008)),
                caller: Some("grant:g1".to_owned()),
                ..all(AuditOrder::Newest)
            },
            |line| (1_002..1_008).contains(&line.at.0) && line.caller == "grant:g1",
        ),
        (AuditQuery { tenant: Some("other".to_owned()), ..all(AuditOrder::Newest) }, |_| false),
        (AuditQuery { action: Some("echo".to_owned()), ..all(AuditOrder::Newest) }, |_| true),
        (AuditQuery { rule: Some("/tools/3".to_owned()), ..all(AuditOrder::Newest) }, |line| {
            line.rule == "/tools/3"
        }),
        (AuditQuery { decision: Some(AuditDecision::Refused), ..all(AuditOrder::Newest) }, |line| {
            line.decision == AuditDecision::Refused
        }),
    ];
    for (query, selects) in cases {
        let mut expected: Vec<_> = written.iter().filter(|line| selects(line)).cloned().collect();
        expected.sort_by_key(|line| line.run);
        for order in orders {
            let mut found = lines(pages(store.as_ref(), AuditQuery { order, ..query.clone() }).await);
            found.sort_by_key(|line| line.run);
            assert_eq!(found, expected, "{query:?} {order:?}");
        }
    }
}

pub(crate) async fn the_trail_is_cut_by_age_and_by_number(backend: &impl Backend) {
    let store = backend.open();
    // More than one batch of either.
    let many: Vec<_> = (0..900).map(line).collect();
    store.note_audit(many.clone(), Vec::new()).await.unwrap();
    let left = async |store: &dyn Store| lines(pages(store, all(AuditOrder::Written)).await);
    assert_eq!(store.forget_audit(UnixMs(1_100), 10_000).await.unwrap(), 300);
    assert_eq!(left(store.as_ref()).await, many[300..]);
    let mut kept = many[300..].to_vec();
    for keep in [550, 480, 50] {
        let mut beyond = kept.len() - keep;
        // The lines of runs first, whatever stands before them.
        kept.retain(|line| {
            let goes = line.decision == AuditDecision::Allowed && beyond > 0;
            beyond -= usize::from(goes);
            !goes
        });
        kept.drain(..beyond);
        let before = left(store.as_ref()).await.len();
        let forgotten = store.forget_audit(UnixMs(0), u64::try_from(keep).unwrap()).await.unwrap();
        assert_eq!(
            (usize::try_from(forgotten).unwrap(), left(store.as_ref()).await),
            (before - keep, kept.clone())
        );
    }
    assert!(kept.iter().all(|line| line.decision != AuditDecision::Allowed));
    assert_eq!(store.forget_audit(UnixMs(0), 50).await.unwrap(), 0);
}
