//! Compiles how Sidegate authenticates itself to an introspection endpoint.

use std::rc::Rc;

use super::super::{
    Diagnostics, document,
    secrets::{Characters, resolve, resolve_setting},
};
use crate::{
    credential::ProviderSecret,
    identity::introspection::{Authentication, ClientAuthentication, OwnToken, TokenEndpoint},
    provider::Endpoint,
};

/// The most bytes of a client id.
const MOST_BYTES: usize = 4096;

pub(super) fn compile(
    authentication: document::Authentication,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> Authentication {
    match authentication {
        document::Authentication::Basic(client) => {
            Authentication::Client(basic(client, environment, path, report))
        }
        document::Authentication::Post(client) => {
            Authentication::Client(post(client, environment, path, report))
        }
        document::Authentication::Bearer(document::BearerToken { token }) => {
            let path = format!("{path}.bearer.token");
            Authentication::Bearer { token: resolve(token, Characters::Checked, environment, &path, report) }
        }
        document::Authentication::ClientCredentials(credentials) => {
            let path = format!("{path}.client_credentials");
            match token_endpoint(credentials, environment, &path, report) {
                Some(endpoint) => Authentication::ClientCredentials(Rc::new(OwnToken::new(endpoint))),
                // What is wrong is reported already.
                None => Authentication::None,
            }
        }
        document::Authentication::None => Authentication::None,
    }
}

fn token_endpoint(
    credentials: document::ClientCredentials,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> Option<TokenEndpoint> {
    let document::ClientCredentials { cluster, url, authentication, scopes, audience, timeout } = credentials;
    report.text(&format!("{path}.cluster"), &cluster);
    let endpoint = report.take(&format!("{path}.url"), Endpoint::parse(&url));
    let at = format!("{path}.authentication");
    let authentication = match authentication {
        document::ClientAuthentication::Basic(client) => basic(client, environment, &at, report),
        document::ClientAuthentication::Post(client) => post(client, environment, &at, report),
    };
    let at = format!("{path}.scopes");
    let scopes = report.list(&at, scopes);
    report.distinct(&at, &scopes);
    for (place, _) in scopes.iter().enumerate().filter(|(_, scope)| !scope.bytes().all(is_of_scopes)) {
        report.add(&format!("{at}[{place}]"), "not one scope: visible ASCII characters except `\"` and `\\`");
    }
    if let Some(audience) = &audience {
        report.text(&format!("{path}.audience"), audience);
    }
    let timeout = timeout.duration();
    if timeout.is_zero() {
        report.add(&format!("{path}.timeout"), "the timeout must be longer than zero");
    }
    Some(TokenEndpoint { cluster, endpoint: endpoint?, authentication, scopes, audience, timeout })
}

/// Whether a scope may have this character (RFC 6749 section 3.3).
const fn is_of_scopes(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')
}

fn basic(
    client: document::Client,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> ClientAuthentication {
    let (id, secret) = compile_client(client, environment, &format!("{path}.basic"), report);
    ClientAuthentication::Basic { id, secret }
}

fn post(
    client: document::Client,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> ClientAuthentication {
    let (id, secret) = compile_client(client, environment, &format!("{path}.post"), report);
    ClientAuthentication::Post { id, secret }
}

fn compile_client(
    client: document::Client,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> (String, ProviderSecret) {
    let document::Client { id, secret } = client;
    let at = format!("{path}.id");
    let id = resolve_setting(id, environment, &at, report);
    report.at_most(MOST_BYTES, "bytes", id.len(), &at);
    let secret = resolve(secret, Characters::Printable, environment, &format!("{path}.secret"), report);
    (id, secret)
}
