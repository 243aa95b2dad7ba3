//! Payers: whose meters a request is charged to.

use std::net::Ipv6Addr;

use smallvec::SmallVec;

use super::{
    limit::Limit,
    meter::{Demand, MeterId},
};
use crate::credential::Digest;

/// Whose usage is counted together. A request without such a payer counts for the next one of consumer,
/// client, subject, address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// Per consumer.
    #[default]
    Consumer,
    /// Per OAuth2 client.
    Client,
    /// Per token subject (`sub`).
    Subject,
    /// Per network address.
    Address,
    /// All callers of the API together.
    Api,
    /// Per API key.
    Key,
}

impl Of {
    /// Its name in the policy document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Client => "client",
            Self::Subject => "subject",
            Self::Address => "address",
            Self::Api => "api",
            Self::Key => "key",
        }
    }
}

/// Sets of limits, each with its kind of payer.
pub type LimitSets = Vec<LimitSet>;

/// Limits that share a kind of payer. Each payer has one meter for the set.
#[derive(Clone, Debug)]
pub struct LimitSet {
    /// Whose usage counts together.
    pub of: Of,
    /// The part that the names of all meters of the set share.
    pub scope: Digest,
    /// The limits.
    pub limits: Vec<Limit>,
}

/// The demands of one request. Most have one or two.
pub type Demands<'l> = SmallVec<[Demand<'l>; 2]>;

/// Everyone who could pay for one request.
pub struct Payers<'a> {
    /// The [payer](api_payer) for the API.
    pub api: Digest,
    /// The digest of the API key.
    pub key: Option<Digest>,
    /// The [payer](consumer_payer) for the consumer, if it is known.
    pub consumer: Option<Digest>,
    /// The OAuth2 client.
    pub client: Option<&'a str>,
    /// The token's subject.
    pub subject: Option<&'a str>,
    /// The caller's network address without the port. Called only if a limit counts by address.
    pub address: &'a dyn Fn() -> Option<String>,
}

/// The payer for the consumer with this name.
pub fn consumer_payer(name: &str) -> Digest {
    payer(b"consumer", name)
}

/// The payer for all callers of the API with this name.
pub fn api_payer(name: &str) -> Digest {
    payer(b"api", name)
}

impl Payers<'_> {
    /// Adds a demand on one meter for each set of limits.
    #[inline]
    pub fn demand<'l>(&self, demands: &mut Demands<'l>, sets: &'l LimitSets) {
        // A plain loop: most sets are empty, and `extend` would count them first.
        for set in sets {
            demands.push(Demand { meter: self.meter(set), limits: &set.limits });
        }
    }

    /// The meter for a set of limits. If the request has no such payer, the next one in line pays, so that no
    /// request goes uncounted.
    #[inline]
    fn meter(&self, set: &LimitSet) -> MeterId {
        let client = || self.client.map(|id| payer(b"client", id));
        let subject = || self.subject.map(|subject| payer(b"subject", subject));
        let identified = || self.consumer.or_else(client).or_else(subject);
        let payer = match set.of {
            Of::Consumer => identified(),
            Of::Client => client().or_else(identified),
            Of::Subject => subject().or_else(identified),
            Of::Address => None,
            Of::Api => Some(self.api),
            Of::Key => self.key.map(|key| Digest::of_parts(&[b"key", key.bytes()])).or_else(identified),
        };
        match payer {
            Some(payer) => MeterId::Known(set.scope.joined(&payer)),
            None => MeterId::Address(set.scope.joined(&self.address_payer())),
        }
    }

    fn address_payer(&self) -> Digest {
        payer(b"address", &network(&(self.address)().unwrap_or_default()))
    }
}

fn payer(kind: &[u8], name: &str) -> Digest {
    Digest::of_parts(&[kind, name.as_bytes()])
}

/// The part of an address that identifies one caller. For IPv6 that is the first 64 bits, because callers can
/// choose the rest.
pub fn network(address: &str) -> String {
    let literal = address.trim_start_matches('[').trim_end_matches(']');
    match literal.parse::<Ipv6Addr>() {
        Ok(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None => (u128::from(v6) >> 64_u32).to_string(),
        },
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_are_one_caller() {
        assert_eq!(network("[2001:db8::1]"), network("2001:db8:0:0:ffff::9"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("[::ffff:10.0.0.1]"), "10.0.0.1");
        assert_eq!(network("10.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn the_next_payer_in_line_pays_if_one_is_unknown() {
        let address = || Some("192.0.2.1".to_owned());
        let scope = Digest::of(b"scope");
        let meter = |payers: &Payers<'_>, of| payers.meter(&LimitSet { of, scope, limits: Vec::new() });
        let known_by = |payer: Digest| MeterId::Known(scope.joined(&payer));
        let unknown = Payers {
            api: api_payer("orders"),
            key: None,
            consumer: None,
            client: None,
            subject: None,
            address: &address,
        };
        let by_address = MeterId::Address(scope.joined(&payer(b"address", "192.0.2.1")));
        for of in [Of::Consumer, Of::Client, Of::Subject, Of::Address, Of::Key] {
            assert_eq!(meter(&unknown, of), by_address, "{of:?}");
        }
        let acme = consumer_payer("acme");
        let known = Payers { consumer: Some(acme), client: Some("web"), subject: Some("alice"), ..unknown };
        let [client, subject] = [payer(b"client", "web"), payer(b"subject", "alice")].map(known_by);
        let expected = [known_by(acme), client, subject, by_address];
        let found = [Of::Consumer, Of::Client, Of::Subject, Of::Address].map(|of| meter(&known, of));
        assert_eq!(found, expected);
        let keyed = Payers { consumer: Some(acme), ..unknown };
        assert_eq!(meter(&keyed, Of::Client), known_by(acme));
        assert_eq!(meter(&keyed, Of::Api), known_by(payer(b"api", "orders")));
        assert_eq!(meter(&keyed, Of::Key), known_by(acme), "a caller without a key");
        let [one, other] = [b"one", b"two"].map(|key| Payers { key: Some(Digest::of(key)), ..keyed });
        assert_ne!(meter(&one, Of::Key), meter(&other, Of::Key));
        assert_eq!(meter(&one, Of::Consumer), known_by(acme));
    }
}
