//! The request to an introspection endpoint (RFC 7662 section 2.1).

use form_urlencoded::Serializer;

use super::{Authentication, MAX_REPLY, Provider, signed::MEDIA_TYPE};
use crate::{
    credential::{AccessToken, Digest, ProviderSecret},
    headers::HeaderList,
    provider::{Asker, Call, HttpRequest, Sharing, Transport, Wanted},
};

impl Provider {
    /// The call that asks whether `token` is active. It is a POST form, so that the token appears in no log
    /// of URLs. `question` is the token's [cache key](Provider::cache_key), and `own` the access token that
    /// we fetched for ourselves, if the endpoint asks for one.
    pub fn call(
        &self,
        token: &AccessToken,
        question: Digest,
        asker: Asker,
        own: Option<&ProviderSecret>,
    ) -> Call {
        let settings = self.settings();
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token.secret()).append_pair("token_type_hint", "access_token");
        let accepted = if settings.signed.is_some() { MEDIA_TYPE } else { "application/json" };
        let mut headers =
            HeaderList::from([("accept", accepted), ("content-type", "application/x-www-form-urlencoded")]);
        let bearer = match &settings.authentication {
            Authentication::Client(client) => {
                client.add_to(&mut headers, &mut form);
                None
            }
            Authentication::Bearer { token } => Some(token),
            Authentication::ClientCredentials(_) => own,
            Authentication::None => None,
        };
        if let Some(bearer) = bearer {
            headers.push("authorization", format!("Bearer {}", bearer.secret()));
        }
        for (name, value) in &settings.headers {
            headers.push(name.clone(), value.secret().to_owned());
        }
        let request = HttpRequest {
            method: "POST",
            scheme: settings.endpoint.scheme().to_owned(),
            authority: settings.endpoint.authority().to_owned(),
            path: settings.endpoint.path(),
            headers,
            body: form.finish().into_bytes(),
        };
        Call {
            cluster: settings.cluster.clone(),
            transport: Transport::Http(request),
            timeout: settings.timeout,
            wanted: Wanted { headers: &["content-type", "retry-after"], trailers: &[], body: MAX_REPLY },
            sharing: Sharing::Joined(question),
            asker,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::{
        super::{
            ClientAuthentication, OwnToken, Settings, provider::tests::settings,
            token_endpoint::tests::endpoint,
        },
        *,
    };

    fn http(call: Call) -> HttpRequest {
        let Transport::Http(request) = call.transport else { panic!("not HTTP") };
        request
    }

    fn call(provider: &Provider, token: &str) -> Call {
        provider.call(
            &AccessToken::new(token),
            provider.cache_key(&Digest::of(token.as_bytes())),
            Asker::Stranger,
            Some(&ProviderSecret::new("fetched")),
        )
    }

    fn asked(authentication: Authentication) -> (Option<String>, String) {
        let provider = Provider::new(Settings { authentication, ..settings() }).unwrap();
        let request = http(call(&provider, "a+b/c=&d e"));
        let authorization = request.headers.get("authorization").map(str::to_owned);
        (authorization, String::from_utf8(request.body).unwrap())
    }

    const FORM: &str = "token=a%2Bb%2Fc%3D%26d+e&token_type_hint=access_token";

    #[test]
    fn the_request_is_a_form_in_a_post() {
        let call = call(&Provider::new(settings()).unwrap(), "t");
        assert_eq!((call.cluster.as_str(), call.timeout), ("hydra-admin", Settings::DEFAULT_TIMEOUT));
        let request = http(call);
        assert_eq!((request.method, request.scheme.as_str()), ("POST", "http"));
        assert_eq!(
            (request.authority.as_str(), request.path.as_str()),
            ("hydra:4445", "/admin/oauth2/introspect")
        );
        assert_eq!(request.headers.get("accept"), Some("application/json"));
        assert_eq!(request.headers.get("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(asked(Authentication::None), (None, FORM.to_owned()));
    }

    #[test]
    fn basic_encodes_id_and_secret_as_a_form_first() {
        let (id, secret) = ("a:b".to_owned(), ProviderSecret::new("p +%é"));
        let authentication = Authentication::Client(ClientAuthentication::Basic { id, secret });
        let credentials = STANDARD.encode("a%3Ab:p+%2B%25%C3%A9");
        assert_eq!(asked(authentication), (Some(format!("Basic {credentials}")), FORM.to_owned()));
    }

    #[test]
    fn post_puts_id_and_secret_into_the_form() {
        let (id, secret) = ("gate".to_owned(), ProviderSecret::new("a&b"));
        let authentication = Authentication::Client(ClientAuthentication::Post { id, secret });
        assert_eq!(asked(authentication), (None, format!("{FORM}&client_id=gate&client_secret=a%26b")));
    }

    #[test]
    fn bearer_sends_a_token_of_our_own() {
        let authentication = Authentication::Bearer { token: ProviderSecret::new("ours") };
        assert_eq!(asked(authentication), (Some("Bearer ours".to_owned()), FORM.to_owned()));
        let authentication = Authentication::ClientCredentials(OwnToken::new(endpoint()).into());
        assert_eq!(asked(authentication), (Some("Bearer fetched".to_owned()), FORM.to_owned()));
    }

    #[test]
    fn further_headers_are_sent_and_distinguish_what_is_cached() {
        let headers = |value| vec![("x-tenant".to_owned(), ProviderSecret::new(value))];
        let of = |value| Provider::new(Settings { headers: headers(value), ..settings() }).unwrap();
        assert_eq!(http(call(&of("acme"), "t")).headers.get("x-tenant"), Some("acme"));
        let token = Digest::of(b"t");
        assert_ne!(of("acme").cache_key(&token), of("other").cache_key(&token));
    }
}
