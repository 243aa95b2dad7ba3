//! Which values are credentials, place by place.

use MisplacedCredential::{NotOneToken, TooLong, Twice, Undecodable};
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

type Headers<'r> = &'r [(&'r str, &'r [u8])];

fn bearer() -> [Location; 1] {
    [Location::header("Authorization", Some("Bearer")).unwrap()]
}

fn everywhere() -> [Location; 3] {
    [
        Location::header("apikey", None).unwrap(),
        Location::query("api_key").unwrap(),
        Location::cookie("key").unwrap(),
    ]
}

fn map(headers: Headers<'_>) -> HeaderMap {
    let owned = |(name, value): &(&str, &[u8])| ((*name).to_owned(), value.to_vec());
    headers.iter().map(owned).collect::<Vec<_>>().into()
}

#[track_caller]
fn found(locations: &[Location], headers: Headers<'_>, query: Option<&str>) -> Option<String> {
    locate(&locations.to_vec().into(), &map(headers), &Query::new(query))
        .unwrap()
        .map(|found| found.credential.into_owned())
}

#[track_caller]
fn refused(locations: &[Location], headers: Headers<'_>, query: Option<&str>) -> MisplacedCredential {
    locate(&locations.to_vec().into(), &map(headers), &Query::new(query)).unwrap_err()
}

#[test]
fn places_are_validated() {
    assert_eq!(Location::header(":path", None), Err(InvalidLocation::HeaderName));
    assert_eq!(Location::header("", None), Err(InvalidLocation::HeaderName));
    assert_eq!(Location::header("Cookie", None), Err(InvalidLocation::CookieHeader));
    assert_eq!(Location::header("authorization", Some("Bearer ")), Err(InvalidLocation::Scheme));
    assert_eq!(Location::query(""), Err(InvalidLocation::QueryName));
    assert_eq!(Location::cookie("a=b"), Err(InvalidLocation::CookieName));
}

#[test]
fn places_overlap_if_one_credential_can_be_in_both() {
    let header = |scheme| Location::header("X-Key", scheme).unwrap();
    assert!(header(None).overlaps(&Location::header("x-key", Some("Key")).unwrap()));
    assert!(header(Some("key")).overlaps(&header(Some("KEY"))));
    assert!(!header(Some("Key")).overlaps(&header(Some("Bearer"))));
    assert!(!Location::query("key").unwrap().overlaps(&Location::cookie("key").unwrap()));
    assert!(Location::query("key").unwrap().overlaps(&Location::query("key").unwrap()));
}

#[test]
fn the_credential_is_found_in_each_place() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(found(&everywhere(), &[("apikey", b" s3cret\t")], None), some("s3cret"));
    assert_eq!(found(&everywhere(), &[], Some("a=1&api_key=s%33+cr%C3%A9t")), some("s3 crét"));
    assert_eq!(found(&everywhere(), &[], Some("api%5fkey=x=y")), some("x=y"));
    assert_eq!(found(&everywhere(), &[("cookie", b"a=\xff; key=\"v=1\"")], None), some("v=1"));
    assert_eq!(found(&everywhere(), &[("cookie", b"a=1"), ("cookie", b"key=v")], None), some("v"));
}

#[test]
fn an_ordinary_header_is_borrowed() {
    let headers: Headers<'_> = &[("authorization", b"Bearer abc")];
    let map = map(headers);
    let query = Query::default();
    let located = locate(&bearer().into(), &map, &query).unwrap().unwrap();
    assert!(matches!(located, Located { credential: Cow::Borrowed("abc"), location: 0 }));
}

#[test]
fn an_empty_value_counts_as_absent() {
    assert_eq!(
        found(&everywhere(), &[("apikey", b"  "), ("cookie", b"key=; key=\"\"")], Some("api_key=&api_key")),
        None
    );
    assert_eq!(found(&everywhere(), &[("apikey", b""), ("apikey", b"k")], None), Some("k".to_owned()));
}

#[test]
fn similar_names_are_ignored() {
    assert_eq!(
        found(
            &everywhere(),
            &[("apikeys", b"k"), ("cookie", b"KEY=v; akey=v; key")],
            Some("API_KEY=k&api_key%=k")
        ),
        None
    );
}

#[test]
fn a_credential_that_arrives_twice_is_refused() {
    let cases: [(Headers<'_>, Option<&str>); 6] = [
        (&[("apikey", b"k"), ("apikey", b"k")], None),
        (&[], Some("api_key=k&api_key=k")),
        (&[], Some("api_key=k&api%5Fkey=k")),
        (&[("cookie", b"key=k; key=k")], None),
        (&[("cookie", b"key=k"), ("cookie", b"key=k")], None),
        (&[("apikey", b"k"), ("cookie", b"key=k")], None),
    ];
    for (headers, query) in cases {
        assert_eq!(refused(&everywhere(), headers, query), Twice, "{headers:?} {query:?}");
    }
    assert_eq!(
        refused(&bearer(), &[("authorization", b"Basic YQ=="), ("authorization", b"Bearer a")], None),
        Twice
    );
}

#[test]
fn a_scheme_among_the_elements_of_a_list_is_a_second_credential() {
    for line in [
        "Basic eDp5,Bearer bad",
        "Basic eDp5, Bearer bad",
        "Basic eDp5,\tbearer",
        "Bearer a,Basic eDp5",
        "Bearer a, Negotiate eDp5",
        "Bearer a, Bearer b",
        "Bearer a,Bearer",
        "Bearer,Bearer a",
        ",Bearer a",
        "Digest username=\"a, Bearer b\"",
        "Digest username=\"a\", Bearer b",
        "x,y,Bearer a,z",
    ] {
        assert_eq!(refused(&bearer(), &[("authorization", line.as_bytes())], None), Twice, "{line}");
    }
    for line in [
        "Basic eDp5,Bearers bad",
        "Digest username=\"Bearer b\", realm=\"x\"",
        "Basic Bearer a",
        "DPoP a,Basic b",
        "x;Bearer a",
    ] {
        assert_eq!(found(&bearer(), &[("authorization", line.as_bytes())], None), None, "{line}");
    }
    assert_eq!(refused(&bearer(), &[("authorization", b"Basic eDp5,\xff,Bearer a")], None), Twice);
}

#[test]
fn a_list_that_is_too_long_to_be_searched_is_refused() {
    let list = |elements: usize| vec!["a"; elements].join(",").into_bytes();
    assert_eq!(found(&bearer(), &[("authorization", &list(64))], None), None);
    assert_eq!(refused(&bearer(), &[("authorization", &list(65))], None), Twice);
    let locations = bearer().into();
    let headers: Headers<'_> = &[("authorization", &list(65))];
    assert_eq!(removal(&locations, &map(headers), &Query::default()).headers.as_slice(), ["authorization"]);
    let token = [b"Bearer ", list(65).as_slice()].concat();
    assert_eq!(refused(&bearer(), &[("authorization", &token)], None), Twice);
}

#[test]
fn places_are_bounded() {
    let queries =
        |count: usize| (0..count).map(|n| Location::query(&n.to_string()).unwrap()).collect::<Vec<_>>();
    assert_eq!(Locations::check(queries(32).iter()), Ok(()));
    assert_eq!(Locations::check(queries(33).iter()), Err(InvalidLocations::TooMany));
    let schemes = |count: usize| {
        (0..count).map(|n| Location::header("a", Some(&format!("s{n}"))).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(Locations::check(schemes(4).iter()), Ok(()));
    assert_eq!(Locations::check(schemes(5).iter()), Err(InvalidLocations::TooManySchemes));
}

#[test]
fn without_a_scheme_the_whole_value_is_the_credential() {
    assert_eq!(found(&everywhere(), &[("apikey", b"a,b, Bearer c")], None), Some("a,b, Bearer c".to_owned()));
}

#[test]
fn an_undecodable_credential_is_refused() {
    assert_eq!(refused(&everywhere(), &[("apikey", b"\xff")], None), Undecodable);
    assert_eq!(refused(&everywhere(), &[("cookie", b"key=\xff")], None), Undecodable);
    for query in ["api_key=%zz", "api_key=%2", "api_key=%ff", "api_key=a%"] {
        assert_eq!(refused(&everywhere(), &[], Some(query)), Undecodable, "{query}");
    }
}

#[test]
fn length_is_bounded_after_decoding() {
    let (fits, long) = ("a".repeat(MAX_CREDENTIAL), "a".repeat(MAX_CREDENTIAL + 1));
    assert_eq!(found(&everywhere(), &[("apikey", fits.as_bytes())], None), Some(fits.clone()));
    assert_eq!(refused(&everywhere(), &[("apikey", long.as_bytes())], None), TooLong);
    assert_eq!(
        found(&everywhere(), &[], Some(&format!("api_key={}", "%61".repeat(MAX_CREDENTIAL)))),
        Some(fits)
    );
    assert_eq!(refused(&everywhere(), &[], Some(&format!("api_key={long}"))), TooLong);
}

#[test]
fn a_scheme_is_followed_by_exactly_one_token() {
    for (line, token) in [("Bearer abc", "abc"), ("bEARER   a-._~+/9==", "a-._~+/9==")] {
        assert_eq!(found(&bearer(), &[("authorization", line.as_bytes())], None), Some(token.to_owned()));
    }
    for line in ["Basic YQ==", "Bearers abc", "Bear", "DPoP abc", ""] {
        assert_eq!(found(&bearer(), &[("authorization", line.as_bytes())], None), None, "{line}");
    }
    let malformed = [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer a,b",
        "Bearer a, b",
        "Bearer a,",
        "Bearer a, b=\"c\"",
        "Bearer\ta",
        "Bearer,a",
        "Bearer =",
        "Bearer a=b",
        "Bearer \"a\"",
    ];
    for line in malformed {
        assert_eq!(refused(&bearer(), &[("authorization", line.as_bytes())], None), NotOneToken, "{line}");
    }
    assert_eq!(refused(&bearer(), &[("authorization", b"Bearer \xff")], None), NotOneToken);
}

#[test]
fn removal_takes_the_credential_and_keeps_the_rest_byte_for_byte() {
    let headers: Headers<'_> =
        &[("apikey", b"k"), ("cookie", b"a=%zz;key=v;  b=\xff"), ("cookie", b"c=1"), ("x", b"y")];
    let locations = everywhere().into();
    let removal = removal(&locations, &map(headers), &Query::new(Some("a=%zz&api_key=k&&b=+")));
    assert_eq!(removal.headers.as_slice(), ["apikey"]);
    assert_eq!(removal.query.as_deref(), Some("a=%zz&&b=+"));
    assert_eq!(removal.cookie.as_deref(), Some(b"a=%zz; b=\xff; c=1".as_slice()));
}

#[test]
fn removal_keeps_what_holds_no_credential() {
    let headers: Headers<'_> = &[("cookie", b"a=1;b=2"), ("authorization", b"Basic YQ==")];
    let locations = [everywhere().as_slice(), &bearer()].concat().into();
    assert_eq!(removal(&locations, &map(headers), &Query::new(Some("a=1"))), Removal::default());
}

#[test]
fn removal_takes_a_list_with_a_credential_as_a_whole() {
    for line in ["Basic eDp5,Bearer bad", "Bearer a,Basic eDp5", ",bearer", "Digest username=\"a, Bearer b\""]
    {
        let locations = bearer().into();
        let headers: Headers<'_> = &[("authorization", line.as_bytes())];
        assert_eq!(
            removal(&locations, &map(headers), &Query::default()).headers.as_slice(),
            ["authorization"],
            "{line}"
        );
    }
}

#[test]
fn removal_takes_malformed_and_last_credentials_too() {
    let headers: Headers<'_> = &[("cookie", b"key="), ("authorization", b"Bearer"), ("apikey", b"")];
    let locations = [everywhere().as_slice(), &bearer()].concat().into();
    let removal = removal(&locations, &map(headers), &Query::new(Some("api_key=%zz")));
    assert_eq!(removal.headers.as_slice(), ["apikey", "authorization", "cookie"]);
    assert_eq!((removal.query.as_deref(), removal.cookie), (Some(""), None));
}
