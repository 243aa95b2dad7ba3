//! What holds for every credential, every introspection reply and every cached byte.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "generators of valid values, outside of test functions")]

mod properties;

use std::{collections::BTreeSet, time::Duration};

use properties::config;
use proptest::{collection::vec, option, prelude::*};
use sidegate::{
    credential::{Digest, Location, Locations, MisplacedCredential, locate, removal},
    headers::{HeaderList, HeaderMap},
    identity::{
        AskedClaims, Audiences, Confirmation, Identity, KeptAnswer, KeptClaims, Requirement, Terms,
        TokenFault, Tolerance, Vouched, check,
        introspection::{Read, read},
    },
    provider::{Body, Freshness, HttpResponse, Keeping, Response, WhenUnavailable},
    query::Query,
    time::Timestamp,
};

type Headers = Vec<(String, Vec<u8>)>;

fn map(headers: &Headers) -> HeaderMap {
    headers.clone().into()
}

fn locations() -> Locations {
    let locations = [
        Location::header("apikey", None).unwrap(),
        Location::header("authorization", Some("Bearer")).unwrap(),
        Location::header("authorization", Some("Token")).unwrap(),
        Location::query("api_key").unwrap(),
        Location::query("ключ").unwrap(),
        Location::cookie("key").unwrap(),
    ];
    locations.into()
}

/// Header lines that often carry a credential, whether well formed or not.
fn headers() -> impl Strategy<Value = Headers> {
    let line = prop_oneof![
        ("apikey", vec(any::<u8>(), 0..4)),
        (
            "authorization",
            "((Bearer|bearer|Token|Basic)?[ ,]{0,2}[a-c=, \"]{0,4},?){0,3}".prop_map(String::into_bytes)
        ),
        ("cookie", "((key|a)?[= ;]{0,2}[\"a]{0,3};?){0,3}".prop_map(String::into_bytes)),
        ("cookie", vec(any::<u8>(), 0..8)),
        ("[a-z]{1,4}", vec(any::<u8>(), 0..4)),
    ];
    vec(line.prop_map(|(name, value): (String, Vec<u8>)| (name, value)), 0..5)
}

fn query() -> impl Strategy<Value = Option<String>> {
    option::of(
        "((api_key|api%5fkey|%D0%BA%D0%BB%D1%8E%D1%87|a)?=?(%[0-9a-f]?[0-9a-fg]?|[+a&=é]){0,3}&?){0,3}",
    )
}

fn texts() -> impl Strategy<Value = Option<String>> {
    option::of(".{0,12}")
}

fn moments() -> impl Strategy<Value = Timestamp> {
    prop_oneof![0..400_u64, any::<u64>()].prop_map(Timestamp::from_millis)
}

fn confirmations() -> impl Strategy<Value = Confirmation> {
    let certificate =
        any::<[u8; 32]>().prop_map(|digest| Confirmation::Certificate(Digest::from_bytes(digest)));
    prop_oneof![Just(Confirmation::None), Just(Confirmation::Other), certificate]
}

fn claims() -> impl Strategy<Value = Identity<'static>> {
    let times = (option::of(moments()), option::of(moments()), option::of(moments()));
    let names = (texts(), texts(), texts(), texts(), texts(), texts(), texts());
    let lists = ("[a-z. ]{0,12}", vec("[^\n]{0,6}", 0..4), confirmations());
    (times, names, lists).prop_map(|((exp, nbf, iat), names, (scope, audiences, confirmation))| {
        let (sub, client_id, username, iss, token_type, token_use, typ) = names;
        Identity {
            exp,
            nbf,
            iat,
            sub: sub.map(Into::into),
            client_id: client_id.map(Into::into),
            username: username.map(Into::into),
            iss: iss.map(Into::into),
            token_type: token_type.map(Into::into),
            token_use: token_use.map(Into::into),
            typ: typ.map(Into::into),
            scope: scope.into(),
            audiences: Audiences::new(&audiences).unwrap(),
            confirmation,
            claims: KeptClaims::default(),
        }
    })
}

fn vouched() -> impl Strategy<Value = Vouched<'static>> {
    prop_oneof![1 => Just(Vouched::Inactive), 4 => claims().prop_map(Vouched::Active)]
}

fn terms() -> impl Strategy<Value = Terms> {
    let mode = prop_oneof![
        Just(WhenUnavailable::Deny),
        Just(WhenUnavailable::Stale),
        Just(WhenUnavailable::AllowClients(BTreeSet::from(["a".to_owned()]))),
    ];
    (mode, 0..200_u64, 0..200_u64, 1..200_u64).prop_map(|(when_unavailable, ttl, negative_ttl, stale)| {
        Terms {
            keeping: Keeping {
                ttl: Duration::from_millis(ttl),
                negative_ttl: Duration::from_millis(negative_ttl),
                stale_if_error: Duration::from_millis(stale),
            },
            when_unavailable,
            ..Terms::default()
        }
    })
}

/// JSON that is nearly a reply.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let member = "\"(active|exp|nbf|iat|sub|aud|scope|scp|cnf|x)\":(true|false|null|1|-1\\.5|1e99|\"a b\"|\\[\"a\"\\]|\\{\\}|1e999)";
    prop_oneof![
        vec(any::<u8>(), 0..64),
        vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")).into_bytes()),
        vec(member, 0..3)
            .prop_map(|members| format!("{{\"active\":true,{}}}", members.join(",")).into_bytes()),
    ]
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn locating_and_removing_never_panic_and_nothing_is_left_to_locate(headers in headers(), query in query()) {
        let locations = locations();
        let fields = map(&headers);
        let sent = Query::new(query.as_deref());
        let before = locate(&locations, &fields, &sent);
        let removal = removal(&locations, &fields, &sent);
        let is_changed = !removal.headers.is_empty() || removal.query.is_some() || removal.cookie.is_some();
        prop_assert!(is_changed || before == Ok(None), "{before:?} but nothing to remove");

        let mut rest = headers.clone();
        rest.retain(|(name, _)| !removal.headers.contains(&name.as_str()));
        if let Some(cookie) = removal.cookie {
            rest.retain(|(name, _)| name != "cookie");
            rest.push(("cookie".to_owned(), cookie));
        }
        let query = removal.query.or(query);
        let query = Query::new(query.as_deref());
        let rest = map(&rest);
        prop_assert_eq!(locate(&locations, &rest, &query), Ok(None));
    }

    #[test]
    fn a_credential_that_arrives_twice_is_always_refused(
        first in 0..6_usize, second in 0..6_usize, key in "[a-z]{1,8}", is_joined: bool,
    ) {
        let mut headers = Headers::new();
        let mut query = Vec::new();
        for place in [first, second] {
            match place {
                0 => headers.push(("apikey".to_owned(), key.clone().into_bytes())),
                1 => headers.push(("authorization".to_owned(), format!("Bearer {key}").into_bytes())),
                2 => headers.push(("authorization".to_owned(), format!("token {key}").into_bytes())),
                3 => query.push(format!("api_key={key}")),
                4 => query.push(format!("%D0%BA%D0%BB%D1%8E%D1%87={key}")),
                _ => headers.push(("cookie".to_owned(), format!("a=b; key={key}").into_bytes())),
            }
        }
        // As Envoy does it.
        if is_joined && let [(name, first), (other, second)] = headers.as_mut_slice()
            && name == "authorization" && name == other
        {
            first.push(b',');
            first.append(second);
            headers.truncate(1);
        }
        let query = query.join("&");
        let headers = map(&headers);
        let query = Query::new(Some(&query));
        prop_assert_eq!(locate(&locations(), &headers, &query), Err(MisplacedCredential::Twice));
    }

    #[test]
    fn reading_any_reply_never_panics_and_what_is_read_can_be_kept(status in prop_oneof![Just(200), any::<u16>()], body in bodies()) {
        let headers = HeaderList::from([("content-type", "application/json")]);
        let (body, trailers) = (Body::Whole(body), HeaderList::new());
        if let Ok(Read::Vouched(vouched)) = read(&Ok(Response::Http(HttpResponse { status, headers, body, trailers })), &AskedClaims::default()) {
            let entry = KeptAnswer::new(vouched, Timestamp::from_millis(1));
            let bytes = entry.encode();
            prop_assert_eq!(KeptAnswer::decode(&bytes), Some(entry));
        }
    }

    #[test]
    fn an_entry_is_decoded_as_it_was_encoded(vouched in vouched(), now in moments()) {
        let entry = KeptAnswer::new(vouched, now);
        let bytes = entry.encode();
        prop_assert_eq!(KeptAnswer::decode(&bytes), Some(entry));
    }

    #[test]
    fn decoding_any_bytes_never_panics(
        vouched in vouched(), noise in vec(any::<u8>(), 0..64), position in any::<prop::sample::Index>(), byte: u8,
    ) {
        let mut bytes = KeptAnswer::new(vouched, Timestamp::MAX).encode();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        for bytes in [bytes, noise] {
            if let Some(entry) = KeptAnswer::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes.clone());
            }
        }
    }

    #[test]
    fn an_answer_never_outlives_its_ttl_or_its_token(
        vouched in vouched(), terms in terms(), fetched_at in moments(), now in moments(),
    ) {
        let exp = match &vouched {
            Vouched::Active(claims) => claims.exp.unwrap_or(Timestamp::MAX),
            Vouched::Inactive => Timestamp::MAX,
        };
        let is_active = vouched != Vouched::Inactive;
        let Keeping { ttl, negative_ttl, stale_if_error } = terms.keeping;
        let kept_for = if is_active { ttl } else { negative_ttl };
        let entry = KeptAnswer::new(vouched, fetched_at);

        let fresh_until = entry.fresh_until(&terms);
        prop_assert!(fresh_until <= exp && fresh_until <= fetched_at.saturating_add(kept_for));
        let last = exp.min(fetched_at.saturating_add(ttl).saturating_add(stale_if_error));
        prop_assert!(entry.kept_until(&terms).is_none_or(|until| !is_active || until <= last));

        match entry.freshness(&terms, now) {
            Freshness::Fresh => prop_assert!(fetched_at <= now && now < fresh_until),
            Freshness::Stale => prop_assert!(is_active && fresh_until <= now && now < last && fetched_at <= now),
            Freshness::Expired => prop_assert!(entry.clone().despite_fault(&terms, now).is_none()),
        }
        if entry.freshness(&terms, now) != Freshness::Expired {
            prop_assert!(entry.kept_until(&terms).is_some_and(|until| now < until));
        }
        if let Some(served) = entry.despite_fault(&terms, now) {
            let verdict = check(&served, &Requirement::default(), now, Tolerance::default(), || None);
            prop_assert_ne!(verdict, Err(TokenFault::Expired));
        }
    }
}
