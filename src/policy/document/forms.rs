//! How choices that need more than a name are written, for messages.

/// The choices of the document that are maps with one entry: the name of the type, the entry, and how both
/// are written.
const FORMS: [(&str, &str, &str); 21] = [
    ("Access", "introspection", "{introspection: {provider: NAME}}"),
    ("Access", "jwt", "{jwt: {provider: NAME}}"),
    ("Access", "threescale", "{threescale: {provider: NAME}}"),
    ("Audience", "all", "{all: [AUDIENCE]}"),
    ("Audience", "any", "{any: [AUDIENCE]}"),
    ("Authentication", "basic", "{basic: {id: ID, secret: {env: NAME}}}"),
    ("Authentication", "bearer", "{bearer: {token: {env: NAME}}}"),
    (
        "Authentication",
        "client_credentials",
        "{client_credentials: {cluster: NAME, url: URL, authentication: {basic: {id: ID, secret: {env: NAME}}}}}",
    ),
    ("Authentication", "post", "{post: {id: ID, secret: {env: NAME}}}"),
    ("ClientAuthentication", "basic", "{basic: {id: ID, secret: {env: NAME}}}"),
    ("ClientAuthentication", "post", "{post: {id: ID, secret: {env: NAME}}}"),
    ("FilterState", "only", "{only: [api, code]}"),
    ("Grant", "methods", "{methods: [GET]}"),
    ("Lease", "up_to", "{up_to: {share: 10, lasts: 1s, most: 1000}}"),
    ("Provider", "introspection", "{introspection: {cluster: NAME, url: URL}}"),
    ("Provider", "jwks", "{jwks: {cluster: NAME, url: URL, issuer: ISSUER}}"),
    ("Provider", "rate_limit_service", "{rate_limit_service: {cluster: NAME}}"),
    ("QuotaUnavailable", "allow_clients", "{allow_clients: [CLIENT]}"),
    (
        "Provider",
        "service_management",
        "{service_management: {cluster: NAME, url: URL, provider_key: {env: NAME}}}",
    ),
    ("Unavailable", "allow_clients", "{allow_clients: [CLIENT]}"),
    ("WithoutDecision", "allow_applications", "{allow_applications: [ID]}"),
];

/// How this entry of a choice is written.
pub fn form(choice: &str, entry: &str) -> String {
    let form = FORMS.iter().find(|(of, name, _)| *of == choice && *name == entry);
    form.map_or_else(|| entry.to_owned(), |(_, _, form)| (*form).to_owned())
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use serde::de::DeserializeOwned;

    use super::{
        super::{
            Access, Audience, Authentication, ClientAuthentication, FilterState, Grant, Lease, Provider,
            QuotaUnavailable, Unavailable, WithoutDecision,
        },
        *,
    };

    #[test]
    fn what_messages_say_to_write_can_be_read() {
        fn reads<T: DeserializeOwned>(text: &str) -> bool {
            serde_saphyr::from_str::<T>(text).is_ok()
        }
        for (choice, entry, form) in FORMS {
            let is_read = match choice {
                "Access" => reads::<Access>(form),
                "Audience" => reads::<Audience>(form),
                "Authentication" => reads::<Authentication>(form),
                "ClientAuthentication" => reads::<ClientAuthentication>(form),
                "FilterState" => reads::<FilterState>(form),
                "Grant" => reads::<Grant>(form),
                "Lease" => reads::<Lease>(form),
                "Provider" => reads::<Provider>(form),
                "QuotaUnavailable" => reads::<QuotaUnavailable>(form),
                "Unavailable" => reads::<Unavailable>(form),
                "WithoutDecision" => reads::<WithoutDecision>(form),
                other => panic!("{other} is not a choice"),
            };
            assert!(is_read && form.contains(entry), "{form}");
        }
    }
}
