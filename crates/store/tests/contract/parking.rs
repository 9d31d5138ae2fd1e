//! Runs that wait for people: parked whole, started or refused once.

use std::slice::from_ref;
use std::sync::Arc;

use execgate_model::{Stage, TenantId, UnixMs};
use execgate_store::{
    Change, Claim, Claimed, Due, Finish, Finished, Leaf, LeafKind, LimitClaim, PARKED_BYTES_OF_ONE_MAX,
    PARKED_BYTES_OF_TENANT_MAX, PARKED_OF_ONE_MAX, PARKED_OF_TENANT_MAX, Parked, ParkedPage, Parking, Record,
    Refused, Store, StoreError, Undone, Untold, VOTES_OF_ONE_MAX, Vote, VoteWord, Voted,
};
use tokio::task::JoinSet;

use super::runs::{
    Backend, approval, change, claim, created, digest, finish, held, payment, recorded, run_id,
};

/// How long a parked run of these tests waits, in milliseconds.
const WAIT_MS: u64 = 60_000;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn parking(number: u16) -> Parking {
    Parking {
        tenant: tenant("default"),
        own_place: true,
        head: format!("head {number}").into_bytes(),
        expires: UnixMs(created(number).0 + WAIT_MS),
    }
}

/// What person `person` says, in artifact `number`.
fn vote(word: VoteWord, person: &str, number: u16) -> Vote {
    Vote {
        approver: format!("{person}-laptop"),
        person: person.to_owned(),
        word,
        artifact: format!("artifact {number}").into_bytes(),
        at: UnixMs(created(number).0 + 7),
    }
}

/// What is said of a run that is parked.
fn said_of_parking() -> Change {
    let leaf = Leaf { kind: LeafKind::Parked, digest: digest(21, 0) };
    Change { leaf, ..change(0) }
}

const PAYLOAD: &[u8] = b"{\"a\":1.50}";

async fn park(store: &Arc<dyn Store>, claim: Claim, parking: Parking) -> Claimed {
    store.park(claim, parking, PAYLOAD.to_vec(), said_of_parking()).await.unwrap()
}

/// What is said of artifact `number`.
fn said(number: u16) -> Change {
    let leaf = Leaf { kind: LeafKind::Vote, digest: digest(20, number) };
    Change { leaf, ..change(number) }
}

fn waiting(claim: &Claim) -> Record {
    Record { stage: Stage::Parked, ..held(claim) }
}

/// Run `number`, parked.
async fn parked(store: &Arc<dyn Store>, number: u16) -> Claim {
    let claim = claim(store.instance(), number);
    assert_eq!(park(store, claim.clone(), parking(number)).await, Claimed::Fresh);
    claim
}

fn intent(number: u16) -> Leaf {
    Leaf { kind: LeafKind::Intent, digest: digest(4, number) }
}

pub(crate) async fn a_parked_run_reads_back_whole_and_leaves_its_leaf(backend: &impl Backend) {
    let store = backend.open();
    let claim = parked(&store, 1).await;
    let bytes = u64::try_from("head 1".len() + PAYLOAD.len()).unwrap();
    let whole = Parked { record: waiting(&claim), parking: parking(1), bytes, tries: 0, votes: Vec::new() };
    assert_eq!(store.parked(run_id(1)).await.unwrap(), Some(whole));
    assert_eq!(store.by_nonce(digest(1, 1)).await.unwrap(), Some(waiting(&claim)));
    assert_eq!(store.parked_payload(run_id(1)).await.unwrap().as_deref(), Some(PAYLOAD));
    assert_eq!(backend.leaves(run_id(1)), [said_of_parking().leaf]);
    // Its nonce is taken, and while claims are paused nothing is parked.
    let again = Claimed::Taken(Box::new(waiting(&claim)));
    assert_eq!(park(&store, claim.clone(), parking(1)).await, again);
    assert_eq!(store.claim(claim).await.unwrap(), again);
    assert!(store.set_paused(true, change(1)).await.unwrap());
    let other = super::claim(store.instance(), 2);
    assert_eq!(park(&store, other, parking(2)).await, Claimed::Paused);
    assert_eq!(store.parked(run_id(2)).await.unwrap(), None);
    assert_eq!(store.parked_payload(run_id(2)).await.unwrap(), None);
}

pub(crate) async fn a_parked_run_starts_once_among_two_instances(backend: &impl Backend) {
    let stores = [backend.open(), backend.open()];
    for number in 1..=20 {
        parked(&stores[0], number).await;
        let mut tasks = JoinSet::new();
        for turn in 0..8 {
            let store = Arc::clone(&stores[turn % 2]);
            tasks.spawn(async move {
                let start = Claim { approval: Some(approval(number)), ..claim(store.instance(), number) };
                loop {
                    match store.unpark(start.clone()).await {
                        // The other instance commits.
                        Err(StoreError::Busy) => {}
                        answer => break (start, answer.unwrap()),
                    }
                }
            });
        }
        let answers = tasks.join_all().await;
        let (fresh, rest): (Vec<_>, Vec<_>) =
            answers.iter().partition(|(_, claimed)| *claimed == Claimed::Fresh);
        assert_eq!(fresh.len(), 1);
        let started = held(&fresh[0].0);
        assert!(rest.iter().all(|(_, claimed)| *claimed == Claimed::Taken(Box::new(started.clone()))));
        assert_eq!(stores[1].run(run_id(number)).await.unwrap(), Some(started));
        assert_eq!(
            backend.leaves(run_id(number)),
            [said_of_parking().leaf, approval(number).change.leaf, intent(number)]
        );
    }
    // The approval that was used up buys no other run.
    let other = Claim { approval: Some(approval(1)), ..claim(stores[0].instance(), 30) };
    assert_eq!(stores[0].claim(other).await.unwrap(), Claimed::ApprovalSpent(run_id(1)));
}

pub(crate) async fn a_parked_run_that_is_refused_never_starts(backend: &impl Backend) {
    let store = backend.open();
    let waits = parked(&store, 1).await;
    let end = Finish { outcome: "denied".to_owned(), ..finish(store.instance(), 1, Stage::Settled) };
    let denial = vote(VoteWord::Deny, "anna", 1);
    let refused = store.refuse(end.clone(), 0, digest(6, 1), Some((denial.clone(), said(1))), None).await;
    assert_eq!(refused.unwrap(), Refused::Ended);
    assert_eq!(store.refuse(end.clone(), 0, digest(6, 1), None, None).await.unwrap(), Refused::NotParked);
    let over = recorded(held(&waits), &end);
    assert_eq!(store.unpark(waits.clone()).await.unwrap(), Claimed::Taken(Box::new(over.clone())));
    assert_eq!(store.by_nonce(digest(1, 1)).await.unwrap(), Some(over));
    assert_eq!(store.votes(run_id(1)).await.unwrap(), from_ref(&denial));
    // What was said yes to buys no other run.
    let other = Claim { approval: Some(approval(1)), ..claim(store.instance(), 40) };
    assert_eq!(store.claim(other).await.unwrap(), Claimed::ApprovalSpent(run_id(1)));
    assert_eq!(backend.leaves(run_id(1)), [said_of_parking().leaf, said(1).leaf, end.leaf]);
    assert_eq!(store.parked(run_id(1)).await.unwrap(), None);

    // Nor is one that runs refused.
    let running = super::claim(store.instance(), 2);
    assert_eq!(store.claim(running).await.unwrap(), Claimed::Fresh);
    let end = finish(store.instance(), 2, Stage::Settled);
    assert_eq!(store.refuse(end, 0, digest(6, 2), None, None).await.unwrap(), Refused::NotParked);
}

pub(crate) async fn a_start_counts_its_limits_anew(backend: &impl Backend) {
    let store = backend.open();
    let limit = |window: u64, max| LimitClaim {
        rule: "/limits/0".to_owned(),
        key: digest(40, 1),
        starts: UnixMs(window * 1_000),
        ends: UnixMs((window + 1) * 1_000),
        amount: 1,
        max,
        enforced: true,
    };
    let under = |number, limit| Claim { limits: vec![limit], ..claim(store.instance(), number) };
    let full = |claimed: &Claimed| matches!(claimed, Claimed::LimitReached(_));
    assert_eq!(park(&store, under(1, limit(1, 1)), parking(1)).await, Claimed::Fresh);
    // It takes up its place while it waits, and what it starts with in the same window takes the place of that.
    assert!(full(&store.claim(under(2, limit(1, 1))).await.unwrap()));
    assert_eq!(store.unpark(under(1, limit(1, 1))).await.unwrap(), Claimed::Fresh);
    assert!(full(&store.claim(under(2, limit(1, 1))).await.unwrap()));

    // In a later window it counts there; where there is no room it goes on waiting.
    assert_eq!(park(&store, under(3, limit(2, 1)), parking(3)).await, Claimed::Fresh);
    assert_eq!(store.claim(under(4, limit(3, 1))).await.unwrap(), Claimed::Fresh);
    assert!(full(&store.unpark(under(3, limit(3, 1))).await.unwrap()));
    assert_eq!(store.run(run_id(3)).await.unwrap().unwrap().stage, Stage::Parked);
    assert_eq!(store.unpark(under(3, limit(4, 1))).await.unwrap(), Claimed::Fresh);
    assert!(full(&store.claim(under(5, limit(4, 1))).await.unwrap()));

    // What is refused gives back what it had reserved.
    assert_eq!(park(&store, under(6, limit(5, 1)), parking(6)).await, Claimed::Fresh);
    let end = finish(store.instance(), 6, Stage::Settled);
    assert_eq!(store.refuse(end, 0, digest(6, 6), None, None).await.unwrap(), Refused::Ended);
    assert_eq!(store.claim(under(7, limit(5, 1))).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn an_undone_start_waits_again(backend: &impl Backend) {
    let store = backend.open();
    let claim = parked(&store, 1).await;
    let start = Claim { approval: Some(approval(1)), payment: Some(payment(1)), ..claim.clone() };
    assert_eq!(store.unpark(start.clone()).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Undone);
    let again = store.parked(run_id(1)).await.unwrap().unwrap();
    assert_eq!((again.record, again.parking, again.tries), (waiting(&claim), parking(1), 1));
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::TooLate);
    // Payment and approval are free for it again.
    assert_eq!(store.unpark(start).await.unwrap(), Claimed::Fresh);
}

pub(crate) async fn a_no_during_a_start_holds_where_that_is_taken_back(backend: &impl Backend) {
    let store = backend.open();
    let claim = parked(&store, 1).await;
    let start = Claim { approval: Some(approval(1)), ..claim.clone() };
    assert_eq!(store.unpark(start.clone()).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.parked(run_id(1)).await.unwrap(), None);
    assert_eq!(store.starting(run_id(1)).await.unwrap().map(|starting| starting.tries), Some(0));
    assert!(store.parked_payload(run_id(1)).await.unwrap().is_some());
    let say = async |word, person, number| {
        store.vote(run_id(1), vote(word, person, number), said(number)).await.unwrap()
    };
    assert_eq!(say(VoteWord::Approve, "anna", 1).await, Voted::NotParked, "a yes comes too late");
    assert_eq!(say(VoteWord::Deny, "anna", 2).await, Voted::Kept);
    assert_eq!(say(VoteWord::Deny, "bob", 3).await, Voted::Kept, "one is enough");
    assert_eq!(store.parked_due(UnixMs(0)).await.unwrap(), []);
    assert_eq!(store.undo(run_id(1), store.instance()).await.unwrap(), Undone::Undone);

    // It waits, to be ended: no start is let through any more.
    let due = Due { run: run_id(1), is_over: false, is_denied: true, votes: 1 };
    assert_eq!(store.parked_due(UnixMs(0)).await.unwrap(), [due]);
    assert!(matches!(store.unpark(start).await.unwrap(), Claimed::Taken(_)));
    let again = store.parked(run_id(1)).await.unwrap().unwrap();
    assert_eq!(again.denial().map(|no| no.person.as_str()), Some("anna"));
    let end = Finish { outcome: "denied".to_owned(), ..finish(store.instance(), 1, Stage::Settled) };
    let refuse = async |tries| store.refuse(end.clone(), tries, digest(6, 1), None, None).await.unwrap();
    assert_eq!(refuse(0).await, Refused::Started, "its end was made before the start");
    assert_eq!(refuse(1).await, Refused::Ended);
    assert_eq!(store.starting(run_id(1)).await.unwrap(), None);
    assert_eq!(say(VoteWord::Deny, "bob", 3).await, Voted::NotParked);
}

pub(crate) async fn parked_runs_are_bounded_by_number_and_bytes(backend: &impl Backend) {
    let store = backend.open();
    let of = |owner, number| Claim { owner: Some(digest(3, owner)), ..claim(store.instance(), number) };
    for number in 1..=u16::try_from(PARKED_OF_ONE_MAX).unwrap() {
        assert_eq!(park(&store, of(1, number), parking(number)).await, Claimed::Fresh);
    }
    assert_eq!(park(&store, of(1, 900), parking(900)).await, Claimed::ParkedFull);
    assert_eq!(store.parked(run_id(900)).await.unwrap(), None);
    // One that has ended makes room.
    let end = finish(store.instance(), 1, Stage::Settled);
    assert_eq!(store.refuse(end, 0, digest(6, 1), None, None).await.unwrap(), Refused::Ended);
    assert_eq!(park(&store, of(1, 900), parking(900)).await, Claimed::Fresh);
    // Others have places of their own, and are bounded by bytes too.
    let half = usize::try_from(PARKED_BYTES_OF_ONE_MAX / 2).unwrap() - PAYLOAD.len();
    let large = |number| Parking { head: vec![0; half], ..parking(number) };
    assert_eq!(park(&store, of(2, 901), large(901)).await, Claimed::Fresh);
    assert_eq!(park(&store, of(2, 902), large(902)).await, Claimed::Fresh);
    assert_eq!(park(&store, of(2, 903), parking(903)).await, Claimed::ParkedFull);
    // Those that belong to nobody, or to somebody without a name, share the places of one.
    let nameless = |number| Parking { own_place: false, ..large(number) };
    assert_eq!(park(&store, of(3, 905), nameless(905)).await, Claimed::Fresh);
    assert_eq!(
        park(&store, of(4, 906), Parking { head: vec![0; half - 1_000], ..nameless(906) }).await,
        Claimed::Fresh
    );
    assert_eq!(park(&store, of(5, 907), nameless(907)).await, Claimed::ParkedFull);
    let nobodys = Claim { owner: None, ..claim(store.instance(), 904) };
    assert_eq!(park(&store, nobodys, parking(904)).await, Claimed::Fresh);
}

pub(crate) async fn a_tenant_has_at_most_half_of_all_places(backend: &impl Backend) {
    let store = backend.open();
    let of = |number: u16| Claim { owner: Some(digest(3, number)), ..claim(store.instance(), number) };
    let half = u16::try_from(PARKED_OF_TENANT_MAX).unwrap();
    for number in 1..=half {
        assert_eq!(park(&store, of(number), parking(number)).await, Claimed::Fresh);
    }
    assert_eq!(park(&store, of(half + 1), parking(half + 1)).await, Claimed::ParkedFull);
    let others = |number| Parking { tenant: tenant("others"), ..parking(number) };
    assert_eq!(park(&store, of(half + 1), others(half + 1)).await, Claimed::Fresh);
    // By bytes likewise, each of them within what one owner may have.
    let bytes = usize::try_from(PARKED_BYTES_OF_ONE_MAX).unwrap() - 1_000;
    let large = |number| Parking { tenant: tenant("large"), head: vec![0; bytes], ..parking(number) };
    let fitting = u16::try_from(PARKED_BYTES_OF_TENANT_MAX / PARKED_BYTES_OF_ONE_MAX).unwrap();
    for number in 1..=fitting {
        assert_eq!(park(&store, of(800 + number), large(800 + number)).await, Claimed::Fresh);
    }
    assert_eq!(park(&store, of(900), large(900)).await, Claimed::ParkedFull);
}

pub(crate) async fn whoever_is_to_be_told_of_a_parked_run_is_told_over_restarts(backend: &impl Backend) {
    let store = backend.open();
    for number in 1..=2 {
        parked(&store, number).await;
    }
    let untold = |number| Untold {
        run: run_id(number),
        fingerprint: claim(store.instance(), number).fingerprint,
        expires: parking(number).expires,
    };
    assert_eq!(store.parked_untold(UnixMs(0)).await.unwrap(), [untold(1), untold(2)]);
    store.note_told(run_id(1)).await.unwrap();
    store.note_told(run_id(9)).await.unwrap();
    let other = backend.open();
    assert_eq!(other.parked_untold(UnixMs(0)).await.unwrap(), [untold(2)]);
    assert_eq!(other.parked_untold(parking(2).expires).await.unwrap(), []);
    assert_eq!(store.unpark(claim(store.instance(), 2)).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.parked_untold(UnixMs(0)).await.unwrap(), []);
}

pub(crate) async fn what_a_person_says_is_recorded_once_and_only_while_it_waits(backend: &impl Backend) {
    let (store, other) = (backend.open(), backend.open());
    let claim = parked(&store, 1).await;
    let yes = |person, number| vote(VoteWord::Approve, person, number);
    assert_eq!(store.vote(run_id(1), yes("anna", 1), said(1)).await.unwrap(), Voted::Recorded);
    assert_eq!(other.vote(run_id(1), yes("anna", 1), said(1)).await.unwrap(), Voted::Repeated);
    assert_eq!(store.vote(run_id(1), yes("bela", 2), said(2)).await.unwrap(), Voted::Recorded);
    let both = [yes("anna", 1), yes("bela", 2)];
    assert_eq!(store.parked(run_id(1)).await.unwrap().unwrap().votes, both);
    for number in 2..=u16::try_from(VOTES_OF_ONE_MAX).unwrap() {
        assert_eq!(
            store.vote(run_id(1), yes("anna", 100 + number), said(100 + number)).await.unwrap(),
            Voted::Recorded
        );
    }
    assert_eq!(store.vote(run_id(1), yes("anna", 200), said(200)).await.unwrap(), Voted::TooMany);
    assert_eq!(store.unpark(claim).await.unwrap(), Claimed::Fresh);
    assert_eq!(store.vote(run_id(1), yes("cleo", 3), said(3)).await.unwrap(), Voted::NotParked);
    assert_eq!(store.vote(run_id(9), yes("cleo", 4), said(4)).await.unwrap(), Voted::NotParked);
    let leaves = backend.leaves(run_id(1));
    assert_eq!((leaves.len(), leaves[1], leaves.last().copied()), (11, said(1).leaf, Some(intent(1))));
}

pub(crate) async fn what_is_due_is_over_or_has_been_spoken_of(backend: &impl Backend) {
    let store = backend.open();
    for number in 1..=3 {
        parked(&store, number).await;
    }
    let due = async |at| store.parked_due(UnixMs(at)).await.unwrap();
    let over = |number| Due { run: run_id(number), is_over: true, is_denied: false, votes: 0 };
    assert_eq!(due(parking(1).expires.0 - 1).await, []);
    assert_eq!(due(parking(1).expires.0).await, [over(1)]);
    assert_eq!(
        store.vote(run_id(3), vote(VoteWord::Approve, "anna", 1), said(1)).await.unwrap(),
        Voted::Recorded
    );
    assert_eq!(due(0).await, [Due { run: run_id(3), is_over: false, is_denied: false, votes: 1 }]);
    let start = claim(store.instance(), 3);
    assert_eq!(store.unpark(start).await.unwrap(), Claimed::Fresh);
    assert_eq!(due(u64::MAX).await, [over(1), over(2)]);
}

pub(crate) async fn an_end_forgets_what_was_asked_for(backend: &impl Backend) {
    let store = backend.open();
    let claim = parked(&store, 1).await;
    assert_eq!(store.unpark(claim.clone()).await.unwrap(), Claimed::Fresh);
    let end = finish(store.instance(), 1, Stage::Settled);
    assert_eq!(store.finish(end.clone()).await.unwrap(), Finished::Recorded);
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(recorded(held(&claim), &end)));
    // Its place is free.
    for number in 2..=u16::try_from(PARKED_OF_ONE_MAX + 1).unwrap() {
        let claim = Claim { owner: claim.owner, ..super::claim(store.instance(), number) };
        assert_eq!(park(&store, claim, parking(number)).await, Claimed::Fresh);
    }
}

pub(crate) async fn a_page_of_parked_runs_is_of_a_tenant_or_an_owner(backend: &impl Backend) {
    let store = backend.open();
    for number in 1..=6 {
        let tenant = tenant(if number % 2 == 0 { "even" } else { "odd" });
        let claim = claim(store.instance(), number);
        let parking = Parking { tenant, ..parking(number) };
        assert_eq!(park(&store, claim, parking).await, Claimed::Fresh);
    }
    let page = async |tenant, owner, before: Option<u16>, limit| {
        let page = ParkedPage { tenant, owner, before: before.map(run_id), limit };
        let found = store.parked_page(page).await.unwrap();
        found.into_iter().map(|parked| parked.record.run).collect::<Vec<_>>()
    };
    assert_eq!(page(None, None, None, 2).await, [run_id(6), run_id(5)]);
    assert_eq!(page(None, None, Some(5), 9).await, [run_id(4), run_id(3), run_id(2), run_id(1)]);
    assert_eq!(page(Some(tenant("even")), None, None, 2).await, [run_id(6), run_id(4)]);
    assert_eq!(page(None, Some(digest(3, 5)), None, 9).await, [run_id(5)]);
    assert_eq!(page(Some(tenant("even")), Some(digest(3, 5)), None, 9).await, []);
    assert_eq!(page(None, None, Some(99), 9).await, []);
}
