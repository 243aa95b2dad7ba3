//! The request to an introspection endpoint (RFC 7662 section 2.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use form_urlencoded::{Serializer, byte_serialize};

use super::{Authentication, MAX_REPLY, Provider};
use crate::{
    credential::{AccessToken, Digest},
    headers::HeaderList,
    provider::{Asker, Call, HttpRequest, Sharing, Transport, Wanted},
};

impl Provider {
    /// The call that asks whether `token` is active. It is a POST form, so that the token appears in no log
    /// of URLs. `question` is the token's [cache key](Provider::cache_key).
    pub fn call(&self, token: &AccessToken, question: Digest, asker: Asker) -> Call {
        let settings = self.settings();
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token.secret()).append_pair("token_type_hint", "access_token");
        let mut headers = HeaderList::from([
            ("accept", "application/json"),
            ("content-type", "application/x-www-form-urlencoded"),
        ]);
        match &settings.authentication {
            Authentication::Basic { id, secret } => {
                let pair = format!("{}:{}", encoded(id), encoded(secret.secret()));
                headers.push("authorization", format!("Basic {}", STANDARD.encode(pair)));
            }
            Authentication::Post { id, secret } => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.secret());
            }
            Authentication::Bearer { token } => {
                headers.push("authorization", format!("Bearer {}", token.secret()));
            }
            Authentication::None => {}
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

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{Settings, provider::tests::settings},
        *,
    };
    use crate::credential::ProviderSecret;

    fn http(call: Call) -> HttpRequest {
        let Transport::Http(request) = call.transport else { panic!("not HTTP") };
        request
    }

    fn call(provider: &Provider, token: &str) -> Call {
        provider.call(
            &AccessToken::new(token),
            provider.cache_key(&Digest::of(token.as_bytes())),
            Asker::Stranger,
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
        let authentication =
            Authentication::Basic { id: "a:b".to_owned(), secret: ProviderSecret::new("p +%é") };
        let credentials = STANDARD.encode("a%3Ab:p+%2B%25%C3%A9");
        assert_eq!(asked(authentication), (Some(format!("Basic {credentials}")), FORM.to_owned()));
    }

    #[test]
    fn post_puts_id_and_secret_into_the_form() {
        let authentication =
            Authentication::Post { id: "gate".to_owned(), secret: ProviderSecret::new("a&b") };
        assert_eq!(asked(authentication), (None, format!("{FORM}&client_id=gate&client_secret=a%26b")));
    }

    #[test]
    fn bearer_sends_a_token_of_our_own() {
        let authentication = Authentication::Bearer { token: ProviderSecret::new("ours") };
        assert_eq!(asked(authentication), (Some("Bearer ours".to_owned()), FORM.to_owned()));
    }
}
