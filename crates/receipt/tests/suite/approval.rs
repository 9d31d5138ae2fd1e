//! Approval statements from outside: what binds them, and that no change of one goes unseen.

use execgate_model::{Amount, ApproverName, Digest, TenantId, UnixMs};
use execgate_receipt::approval::{
    APPROVAL_PAYLOAD_TYPE, APPROVAL_TYPE, ActionDigest, ApprovalError, ApprovalStatement, Approver,
    Approvers, ApproversError, Artifact, ArtifactError, Decision, Demand, MAX_APPROVAL_BYTES, public_key,
};
use execgate_receipt::{Envelope, SigningKey, Timestamp, canonical, sha256};
use proptest::prelude::{any, proptest};
use serde_json::{Value, json};

/// 2026-11-20T10:00:00Z.
const NOW: u64 = 1_795_168_800_000;

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn name(text: &str) -> ApproverName {
    ApproverName::new(text).unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::new(UnixMs(ms)).unwrap()
}

fn digest() -> Digest {
    sha256(b"the request")
}

fn approver(of: &str, number: u8) -> Approver {
    let keys = vec![key(number).verifying_key()];
    Approver { name: name(of), person: of.to_owned(), tenant: None, keys }
}

fn approvers() -> Approvers {
    let mut bound = approver("carol", 3);
    bound.tenant = TenantId::new("other").ok();
    Approvers::new(vec![approver("alice", 1), approver("bob", 2), bound]).unwrap()
}

fn statement() -> ApprovalStatement {
    ApprovalStatement {
        statement_type: APPROVAL_TYPE.to_owned(),
        approval_id: "a4e3a4e6-0a68-8603-af77-a1eb656365e7".parse().unwrap(),
        decision: Decision::Approve,
        tenant: TenantId::new("acme").unwrap(),
        scope: Some("acme\ngrant\nci".to_owned()),
        action: "deploy".parse().unwrap(),
        action_digest: ActionDigest(digest()),
        policy_digest: Some(ActionDigest(sha256(b"the policy"))),
        max_price: "0.05".parse().ok(),
        reason: Some("the release of today".to_owned()),
        issued_at: at(NOW - 1_000),
        expires_at: at(NOW + 300_000),
        approver: name("alice"),
    }
}

/// What the gateway sees of the request.
fn judge(envelope: &Envelope) -> Result<(), ApprovalError> {
    judge_for(envelope, "acme", Some("acme\ngrant\nci"), "deploy")
}

fn judge_for(
    envelope: &Envelope,
    tenant: &str,
    scope: Option<&str>,
    action: &str,
) -> Result<(), ApprovalError> {
    let (tenant, action) = (TenantId::new(tenant).unwrap(), action.parse().unwrap());
    let demand = Demand {
        tenant: &tenant,
        scope,
        action: &action,
        action_digest: digest(),
        policy_digest: sha256(b"the policy"),
        price: Amount::from_micros(50_000),
    };
    approvers().open(envelope)?.approves(&demand, UnixMs(NOW))
}

fn judged(change: impl Fn(&mut ApprovalStatement)) -> Result<(), ApprovalError> {
    let mut changed = statement();
    change(&mut changed);
    judge(&changed.sign(&key(1)).unwrap())
}

#[test]
fn a_statement_approves_the_request_that_it_names() {
    judge(&statement().sign(&key(1)).unwrap()).unwrap();
    judged(|said| {
        said.scope = None;
        said.policy_digest = None;
        said.max_price = None;
        said.reason = None;
    })
    .unwrap();
    let envelope = statement().sign(&key(1)).unwrap();
    let known = approvers();
    let verified = known.open(&envelope).unwrap();
    assert_eq!((verified.statement(), verified.approver().name.as_str()), (&statement(), "alice"));
    assert_eq!(verified.key_id(), key(1).key_id());
}

#[test]
fn an_envelope_that_python_signed_opens() {
    let text = include_bytes!("../../../../fuzz/seeds/approval_artifact/envelope.json");
    let envelope: Envelope = serde_json::from_slice(text).unwrap();
    let known = Approvers::new(vec![approver("alice", 42)]).unwrap();
    let verified = known.open(&envelope).unwrap();
    let wanted = ApprovalStatement {
        action_digest: ActionDigest(Digest::from_bytes([0xab; 32])),
        policy_digest: None,
        reason: Some("seen".to_owned()),
        issued_at: at(NOW),
        ..statement()
    };
    assert_eq!(verified.statement(), &wanted);
}

#[test]
fn each_thing_that_does_not_match_is_refused_by_its_name() {
    use ApprovalError as E;
    let other = || ActionDigest(sha256(b"another"));
    assert!(matches!(judged(|s| s.statement_type.push('0')), Err(E::Type)));
    assert!(matches!(judged(|s| s.decision = Decision::Deny), Err(E::Denied { .. })));
    assert!(matches!(judged(|s| s.tenant = "acme2".parse().unwrap()), Err(E::Tenant { .. })));
    assert!(matches!(judged(|s| s.scope = Some("acme\ngrant\ncd".to_owned())), Err(E::Scope)));
    assert!(matches!(judged(|s| s.action = "echo".parse().unwrap()), Err(E::Action { .. })));
    assert!(matches!(judged(|s| s.action_digest = other()), Err(E::ActionDigest { .. })));
    assert!(matches!(judged(|s| s.policy_digest = Some(other())), Err(E::Policy)));
    assert!(matches!(judged(|s| s.max_price = "0.049999".parse().ok()), Err(E::Price { .. })));
    assert!(matches!(judged(|s| s.issued_at = at(NOW + 60_001)), Err(E::NotYet { .. })));
    assert!(matches!(judged(|s| s.expires_at = at(NOW)), Err(E::Expired { .. })));
    assert!(matches!(judged(|s| s.expires_at = s.issued_at), Err(E::Lifetime)));
    assert!(matches!(judged(|s| s.approver = name("bob")), Err(E::ForeignKey { .. })));
    assert!(matches!(judged(|s| s.approver = name("nobody")), Err(E::ForeignKey { .. })));
    let stranger = statement().sign(&key(9)).unwrap();
    assert!(matches!(judge(&stranger), Err(E::Envelope(_))));
    let carol = ApprovalStatement { approver: name("carol"), ..statement() }.sign(&key(3)).unwrap();
    assert!(matches!(judge(&carol), Err(E::ApproverTenant { .. })));
    let good = statement().sign(&key(1)).unwrap();
    assert!(matches!(judge_for(&good, "acme", None, "deploy"), Err(E::Scope)));
}

#[test]
fn a_clock_that_is_a_minute_ahead_is_borne_with() {
    judged(|said| said.issued_at = at(NOW + 60_000)).unwrap();
    judged(|said| said.expires_at = at(NOW + 1)).unwrap();
}

/// Signs bytes as they are, as somebody with a good key and a bad program would.
fn signed(payload: &[u8]) -> Envelope {
    Envelope::sign(&key(1), APPROVAL_PAYLOAD_TYPE, payload)
}

#[test]
fn a_statement_has_one_spelling_however_well_it_is_signed() {
    use ApprovalError as E;
    let good = statement().to_bytes().unwrap();
    judge(&signed(&good)).unwrap();
    let text = String::from_utf8(good).unwrap();
    let refused = |text: &str| judge(&signed(text.as_bytes())).unwrap_err();
    assert!(matches!(refused(&text.replacen(':', ": ", 1)), E::NotCanonical));
    assert!(matches!(refused(&text.replace("0.05", "0.050")), E::NotCanonical));
    assert!(matches!(refused(&text.replace("a4e3a4e6", "A4E3A4E6")), E::NotCanonical));
    let twice = text.replacen('{', "{\"decision\":\"deny\",", 1);
    assert!(matches!(refused(&twice), E::Json(_)));
    let more = text.replacen('{', "{\"max_uses\":1,", 1);
    assert!(matches!(refused(&more), E::Fields(_)));
    let mut fields: Value = serde_json::from_str(&text).unwrap();
    for name in fields.as_object().unwrap().keys().cloned().collect::<Vec<_>>() {
        let taken = fields.as_object_mut().unwrap().remove(&name).unwrap();
        let less = canonical(&fields).unwrap();
        assert!(matches!(judge(&signed(&less)), Err(E::Fields(_) | E::NotCanonical)), "{name}");
        fields[&name] = taken;
    }
    assert!(matches!(refused("[]"), E::Fields(_)));
    let long = ApprovalStatement { reason: Some("a".repeat(MAX_APPROVAL_BYTES)), ..statement() };
    assert!(matches!(long.sign(&key(1)), Err(E::TooLong { .. })));
    assert!(matches!(
        refused(&text.replace("the release", &"a".repeat(MAX_APPROVAL_BYTES))),
        E::TooLong { .. }
    ));
}

#[test]
fn an_envelope_holds_one_signature_and_is_of_its_type() {
    let mut two = statement().sign(&key(1)).unwrap();
    two.signatures.extend(statement().sign(&key(2)).unwrap().signatures);
    assert!(matches!(judge(&two), Err(ApprovalError::Signatures)));
    two.signatures.clear();
    assert!(matches!(judge(&two), Err(ApprovalError::Envelope(_))));
    let receipt = Envelope::sign(&key(1), "application/vnd.in-toto+json", &statement().to_bytes().unwrap());
    assert!(matches!(judge(&receipt), Err(ApprovalError::Envelope(_))));
}

#[test]
fn all_who_name_one_id_use_up_one_artifact_and_tenants_have_their_own() {
    let known = approvers();
    let of =
        |said: &ApprovalStatement, number| known.open(&said.sign(&key(number)).unwrap()).unwrap().artifact();
    let bob = ApprovalStatement { approver: name("bob"), reason: None, ..statement() };
    assert_eq!(of(&statement(), 1), of(&bob, 2));
    let elsewhere = ApprovalStatement { tenant: TenantId::new("other").unwrap(), ..statement() };
    assert_ne!(of(&statement(), 1), of(&elsewhere, 1));
}

#[test]
fn a_list_of_approvers_has_each_name_and_each_key_once() {
    let alice = || approver("alice", 1);
    let twice = Approvers::new(vec![alice(), approver("alice", 2)]);
    assert_eq!(twice, Err(ApproversError::Twice { name: name("alice") }));
    let shared = Approvers::new(vec![alice(), approver("bob", 1)]);
    assert_eq!(shared, Err(ApproversError::SharedKey { name: name("bob"), key_id: key(1).key_id() }));
    let mute = Approvers::new(vec![Approver { keys: Vec::new(), ..alice() }]);
    assert!(matches!(mute, Err(ApproversError::Keys { .. })));
    let many = (0..=255).map(|number| approver(&format!("a{number}"), number)).collect::<Vec<_>>();
    assert!(Approvers::new(many.clone()).is_ok());
    let mut more = many;
    more.push(alice());
    assert!(matches!(Approvers::new(more), Err(ApproversError::TooMany { .. })));
}

#[test]
fn a_public_key_is_read_as_a_file_as_one_line_and_as_base64() {
    let public = key(1).verifying_key();
    let pem = public.to_spki_pem().unwrap();
    assert_eq!(public_key(&pem).unwrap(), public);
    assert_eq!(public_key(&pem.replace('\n', "\\n")).unwrap(), public);
    // RFC 8032, section 7.1, TEST 2.
    let known = public_key("PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=").unwrap();
    assert_eq!(known.as_bytes()[..4], [0x3d, 0x40, 0x17, 0xc3]);
    for bad in [
        "",
        "PUAXw+hDiVqStwqnTRt+vA==",
        "-----BEGIN PUBLIC KEY-----",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ] {
        assert!(public_key(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_request_carries_one_artifact_or_a_bounded_list_of_envelopes() {
    let envelope = statement().sign(&key(1)).unwrap();
    let value = serde_json::to_value(&envelope).unwrap();
    assert_eq!(Artifact::read(&value).unwrap(), Artifact::Statements(vec![envelope.clone()]));
    let two = json!([value, value]);
    assert_eq!(Artifact::read(&two).unwrap(), Artifact::Statements(vec![envelope.clone(), envelope]));
    assert!(matches!(Artifact::read(&json!({"approval_id": "a"})), Ok(Artifact::ClawShield(_))));
    let many = Value::Array(vec![value; 17]);
    for bad in [&json!([]), &many] {
        assert!(matches!(Artifact::read(bad), Err(ArtifactError::Count { .. })));
    }
    for bad in [json!(null), json!("eyJ9"), json!(1)] {
        assert!(matches!(Artifact::read(&bad), Err(ArtifactError::Shape)), "{bad}");
    }
    assert!(matches!(Artifact::read(&json!([{}])), Err(ArtifactError::Envelope(_))));
    assert!(matches!(Artifact::read(&json!({"max_uses": 1})), Err(ArtifactError::UnknownField)));
    for bad in [json!(1), json!("a".repeat(513))] {
        let refused = Artifact::read(&json!({"expires_at": bad}));
        assert!(matches!(refused, Err(ArtifactError::Field { field: "expires_at", .. })));
    }
}

proptest! {
    #[test]
    fn no_flipped_bit_of_an_envelope_goes_unseen(at in any::<proptest::sample::Index>(), bit in 0..8_u32, part in 0..2) {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let mut envelope = statement().sign(&key(1)).unwrap();
        let text = if part == 0 { &mut envelope.payload } else { &mut envelope.signatures[0].sig };
        let mut bytes = STANDARD.decode(&*text).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        *text = STANDARD.encode(bytes);
        assert!(matches!(judge(&envelope), Err(ApprovalError::Envelope(_))));
    }

    #[test]
    fn a_statement_reads_back_as_it_was_signed(reason in ".{0,64}", scope in ".{0,64}", price in any::<u64>(), later in 1..1_000_000_u64) {
        let said = ApprovalStatement {
            reason: Some(reason),
            scope: Some(scope),
            max_price: Some(Amount::from_micros(price)),
            expires_at: at(NOW + later),
            ..statement()
        };
        let (known, envelope) = (approvers(), said.sign(&key(1)).unwrap());
        assert_eq!(known.open(&envelope).unwrap().statement(), &said);
    }
}
