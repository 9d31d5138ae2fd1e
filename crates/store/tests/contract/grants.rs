//! Grants: kept whole, changed by one who says so, counted, and never made twice.

use std::collections::{BTreeMap, BTreeSet};

use execgate_model::{GrantId, Role, TenantId, UnixMs};
use execgate_store::{Changed, Grant, Granted, NewKey, OldKey};

use super::runs::{Backend, change, digest, run_id};

fn id(number: u16) -> GrantId {
    GrantId::new(format!("g{number}")).unwrap()
}

fn grant(number: u16) -> Grant {
    Grant {
        id: id(number),
        name: format!("holder {number}"),
        tenant: TenantId::new("acme").unwrap(),
        labels: BTreeMap::from([("team".to_owned(), "red, \"green\"".to_owned())]),
        roles: BTreeSet::from([Role::Caller, Role::PolicyManager]),
        internal: number.is_multiple_of(2),
        isolation: Some("red".to_owned()),
        wallets: vec!["eip155:8453:0xab".to_owned()],
        expires: Some(UnixMs(2_000)),
        created: UnixMs(1_000 + u64::from(number)),
        revoked: None,
        key: digest(9, number),
        old_key: None,
        last_used: None,
        policy: Some("{ \"version\": \"1\" }\n".to_owned()),
    }
}

fn bare(number: u16) -> Grant {
    Grant {
        labels: BTreeMap::new(),
        roles: BTreeSet::new(),
        isolation: None,
        wallets: Vec::new(),
        expires: None,
        policy: None,
        ..grant(number)
    }
}

pub(crate) async fn a_grant_reads_back_whole(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    let used = Grant {
        old_key: Some(OldKey { digest: digest(8, 3), expires: UnixMs(7) }),
        last_used: Some(UnixMs(5)),
        revoked: Some(UnixMs(6)),
        ..grant(3)
    };
    for grant in [grant(1), bare(2), used.clone()] {
        assert_eq!(one.add_grant(grant.clone(), change(1)).await.unwrap(), Granted::Made);
        assert_eq!(two.grant(grant.id.clone()).await.unwrap(), Some(grant));
    }
    assert_eq!(two.grants().await.unwrap(), [grant(1), bare(2), used]);
    assert_eq!(two.standing_grants().await.unwrap().grants, [grant(1), bare(2)]);
    assert_eq!(two.grant(id(9)).await.unwrap(), None);
}

pub(crate) async fn an_id_is_given_once_even_after_it_was_revoked(backend: &impl Backend) {
    let store = backend.open();
    store.add_grant(grant(1), change(1)).await.unwrap();
    store.revoke_grant(id(1), UnixMs(3), change(3)).await.unwrap();
    assert_eq!(store.add_grant(bare(1), change(1)).await.unwrap(), Granted::Taken);
    assert_eq!(store.grant(id(1)).await.unwrap(), Some(Grant { revoked: Some(UnixMs(3)), ..grant(1) }));
}

pub(crate) async fn a_new_key_keeps_the_one_before_and_no_other(backend: &impl Backend) {
    let store = backend.open();
    store.add_grant(grant(1), change(1)).await.unwrap();
    for number in [20, 21] {
        let key = NewKey { digest: digest(9, number), old_expires: UnixMs(u64::from(number)) };
        assert_eq!(store.rotate_grant(id(1), key, change(2)).await.unwrap(), Changed::Done);
    }
    let old_key = Some(OldKey { digest: digest(9, 20), expires: UnixMs(21) });
    let expected = Grant { key: digest(9, 21), old_key, ..grant(1) };
    assert_eq!(store.grant(id(1)).await.unwrap(), Some(expected));
}

pub(crate) async fn rules_of_a_grant_are_kept_as_given_and_taken_away(backend: &impl Backend) {
    let store = backend.open();
    store.add_grant(bare(1), change(1)).await.unwrap();
    for policy in [Some("{\n}".to_owned()), Some("\u{fc}".to_owned()), None] {
        assert_eq!(store.set_grant_policy(id(1), policy.clone(), change(2)).await.unwrap(), Changed::Done);
        assert_eq!(store.grant(id(1)).await.unwrap(), Some(Grant { policy, ..bare(1) }));
    }
    store.revoke_grant(id(1), UnixMs(3), change(3)).await.unwrap();
    assert_eq!(
        store.set_grant_policy(id(1), Some(String::new()), change(4)).await.unwrap(),
        Changed::Revoked
    );
    assert_eq!(store.set_grant_policy(id(2), None, change(4)).await.unwrap(), Changed::Missing);
}

pub(crate) async fn what_is_revoked_or_missing_is_not_changed(backend: &impl Backend) {
    let store = backend.open();
    store.add_grant(grant(1), change(1)).await.unwrap();
    let key = NewKey { digest: digest(9, 20), old_expires: UnixMs(9) };
    assert_eq!(store.revoke_grant(id(1), UnixMs(3), change(3)).await.unwrap(), Changed::Done);
    assert_eq!(store.revoke_grant(id(1), UnixMs(4), change(3)).await.unwrap(), Changed::Revoked);
    assert_eq!(store.rotate_grant(id(1), key, change(2)).await.unwrap(), Changed::Revoked);
    assert_eq!(store.revoke_grant(id(2), UnixMs(4), change(3)).await.unwrap(), Changed::Missing);
    assert_eq!(store.rotate_grant(id(2), key, change(2)).await.unwrap(), Changed::Missing);
    assert_eq!(store.grant(id(1)).await.unwrap(), Some(Grant { revoked: Some(UnixMs(3)), ..grant(1) }));
}

pub(crate) async fn every_change_is_counted_and_no_use_is(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    let mut seen = two.grant_changes().await.unwrap();
    let key = NewKey { digest: digest(9, 20), old_expires: UnixMs(9) };
    for step in 0..4 {
        match step {
            0 => assert_eq!(one.add_grant(grant(1), change(1)).await.unwrap(), Granted::Made),
            1 => assert_eq!(one.rotate_grant(id(1), key, change(2)).await.unwrap(), Changed::Done),
            2 => assert_eq!(one.set_grant_policy(id(1), None, change(3)).await.unwrap(), Changed::Done),
            _ => assert_eq!(one.revoke_grant(id(1), UnixMs(3), change(4)).await.unwrap(), Changed::Done),
        }
        let now = two.grant_changes().await.unwrap();
        assert!(now > seen, "step {step}");
        assert_eq!(two.standing_grants().await.unwrap().changes, now);
        seen = now;
    }
    one.note_grant_uses(vec![(id(1), UnixMs(50)), (id(7), UnixMs(1))]).await.unwrap();
    one.note_grant_uses(vec![(id(1), UnixMs(40))]).await.unwrap();
    assert_eq!(two.grant(id(1)).await.unwrap().unwrap().last_used, Some(UnixMs(50)));
    assert_eq!(two.grant_changes().await.unwrap(), seen);
}

pub(crate) async fn what_is_said_is_recorded_with_what_changed_and_never_without(backend: &impl Backend) {
    let (one, two) = (backend.open(), backend.open());
    let key = NewKey { digest: digest(9, 20), old_expires: UnixMs(9) };
    assert_eq!(one.add_grant(grant(1), change(1)).await.unwrap(), Granted::Made);
    assert_eq!(one.add_grant(grant(1), change(2)).await.unwrap(), Granted::Taken);
    assert_eq!(one.rotate_grant(id(1), key, change(3)).await.unwrap(), Changed::Done);
    assert_eq!(one.rotate_grant(id(9), key, change(4)).await.unwrap(), Changed::Missing);
    assert_eq!(one.revoke_grant(id(1), UnixMs(3), change(5)).await.unwrap(), Changed::Done);
    assert_eq!(one.revoke_grant(id(1), UnixMs(3), change(6)).await.unwrap(), Changed::Revoked);
    assert!(one.set_paused(true, change(7)).await.unwrap());
    assert!(!one.set_paused(true, change(8)).await.unwrap());
    assert!(one.set_paused(false, change(9)).await.unwrap());
    let told = two.changes(None, 100).await.unwrap();
    let changes: Vec<_> = told.iter().map(|recorded| recorded.change.clone()).collect();
    assert_eq!(changes, [9, 7, 5, 3, 1].map(change));
    assert!(told.windows(2).all(|pair| pair[0].seq > pair[1].seq));
    let page = two.changes(Some(told[1].seq), 2).await.unwrap();
    assert_eq!(page, told[2..4]);
    assert_eq!(two.changes(Some(0), 2).await.unwrap(), []);
    assert_eq!(backend.leaves(run_id(1)), [], "they are of no run");
}
