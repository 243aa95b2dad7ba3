//! Compiles issuers of JWTs.

use std::rc::Rc;

use super::super::{Diagnostics, document};
use crate::{
    access::Audience,
    credential::Digest,
    identity::{
        Terms,
        jwt::{Algorithm, Hash, KeySet, Keys, Provider, Publication, Settings},
    },
    provider::{Endpoint, Keeping, WhenUnavailable},
};

pub(super) fn compile(
    name: String,
    provider: document::Jwks,
    path: &str,
    report: &mut Diagnostics,
) -> Option<Rc<Provider>> {
    let document::Jwks {
        cluster,
        url,
        keys,
        payload_in_metadata,
        issuer,
        audiences,
        algorithms,
        timeout,
        refresh,
        cache,
        leeway,
        max_lifetime,
    } = provider;
    report.text(&format!("{path}.issuer"), &issuer);
    report.text(&format!("{path}.payload_in_metadata"), &payload_in_metadata);
    let audience = audiences.and_then(|list| report.take(&format!("{path}.audiences"), Audience::any(list)));
    let algorithms = match algorithms {
        None => Algorithm::ALL.to_vec(),
        Some(list) => list.into_iter().map(algorithm).collect(),
    };
    let twice = algorithms
        .iter()
        .enumerate()
        .find(|(place, one)| algorithms.iter().take(*place).any(|other| other == *one));
    if let Some((place, algorithm)) = twice {
        let message = format!("`{}` is listed twice", algorithm.as_str());
        report.add(&format!("{path}.algorithms[{place}]"), message);
    }
    let keys = match (cluster, url, keys) {
        (None, None, None) => Some(Keys::None),
        (None, None, Some(text)) => {
            let set = report.take(&format!("{path}.keys"), KeySet::parse_written(&text));
            set.map(|set| Keys::Written(Rc::new(set), Digest::of(text.as_bytes())))
        }
        (Some(cluster), Some(url), None) => {
            if !cluster.is_empty() {
                report.text(&format!("{path}.cluster"), &cluster);
            }
            let endpoint = report.take(&format!("{path}.url"), Endpoint::parse(&url));
            // A missing endpoint is reported already; the rest is checked as well.
            let endpoint = endpoint.or_else(|| Endpoint::parse("http://unknown").ok());
            let document::Refresh { every, pause } = refresh;
            endpoint.map(|endpoint| {
                let [timeout, every, pause] = [timeout, every, pause].map(|text| text.duration());
                Keys::Published(Publication::new(cluster, endpoint, timeout, every, pause))
            })
        }
        _ => {
            report.add(path, "give either `cluster` and `url`, or `keys`");
            None
        }
    };
    let settings = Settings {
        name,
        issuer,
        audience,
        algorithms,
        keys: keys?,
        payload_in_metadata,
        terms: Terms {
            keeping: Keeping {
                ttl: cache.ttl.duration(),
                negative_ttl: cache.negative_ttl.duration(),
                ..Keeping::default()
            },
            when_unavailable: WhenUnavailable::Deny,
            leeway: leeway.duration(),
            ..Terms::default()
        },
        leeway: leeway.duration(),
        max_lifetime: max_lifetime.map(|lifetime| lifetime.duration()),
    };
    let compiled = Provider::new(settings);
    if let Err(errors) = &compiled {
        for error in errors {
            report.add(&format!("{path}.{}", error.attribute()), error);
        }
    }
    compiled.ok().map(Rc::new)
}

const fn algorithm(algorithm: document::Algorithm) -> Algorithm {
    use document::Algorithm as Written;
    match algorithm {
        Written::Rs256 => Algorithm::Rs(Hash::Sha256),
        Written::Rs384 => Algorithm::Rs(Hash::Sha384),
        Written::Rs512 => Algorithm::Rs(Hash::Sha512),
        Written::Ps256 => Algorithm::Ps(Hash::Sha256),
        Written::Ps384 => Algorithm::Ps(Hash::Sha384),
        Written::Ps512 => Algorithm::Ps(Hash::Sha512),
        Written::Es256 => Algorithm::Es(Hash::Sha256),
        Written::Es384 => Algorithm::Es(Hash::Sha384),
        Written::Es512 => Algorithm::Es(Hash::Sha512),
        Written::EdDsa => Algorithm::EdDsa,
    }
}
