//! The question to an introspection endpoint, RFC 7662 section 2.1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};

use super::{Authentication, Provider};
use crate::credential::AccessToken;
use crate::provider::ProviderRequest;

impl Provider {
    /// Asks whether `token` is active. A POST form, so that the token reaches no log of URLs.
    pub fn request(&self, token: &AccessToken) -> ProviderRequest {
        let settings = self.settings();
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token.secret()).append_pair("token_type_hint", "access_token");
        let mut headers = vec![
            ("accept", "application/json".to_owned()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        match &settings.authentication {
            Authentication::Basic { id, secret } => {
                let pair = format!("{}:{}", encoded(id), encoded(secret.secret()));
                headers.push(("authorization", format!("Basic {}", STANDARD.encode(pair))));
            }
            Authentication::Post { id, secret } => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.secret());
            }
            Authentication::Bearer { token } => {
                headers.push(("authorization", format!("Bearer {}", token.secret())));
            }
            Authentication::None => {}
        }
        ProviderRequest {
            cluster: settings.cluster.clone(),
            method: "POST",
            scheme: settings.endpoint.scheme().to_owned(),
            authority: settings.endpoint.authority().to_owned(),
            path: settings.endpoint.path(),
            headers,
            body: form.finish().into_bytes(),
            timeout: settings.timeout,
        }
    }
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::provider::tests::settings;
    use super::*;
    use crate::credential::ProviderSecret;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn asked(authentication: Authentication) -> (Option<String>, String) {
        let provider = Provider::new(Settings { authentication, ..settings() }).unwrap();
        let request = provider.request(&AccessToken::new("a+b/c=&d e"));
        let authorization = request.headers.into_iter().find(|(name, _)| *name == "authorization");
        (authorization.map(|(_, value)| value), String::from_utf8(request.body).unwrap())
    }

    const FORM: &str = "token=a%2Bb%2Fc%3D%26d+e&token_type_hint=access_token";

    #[test]
    fn the_question_is_a_form_in_a_post() {
        let request = Provider::new(settings()).unwrap().request(&AccessToken::new("t"));
        assert_eq!((request.method, request.scheme.as_str()), ("POST", "http"));
        assert_eq!((request.cluster.as_str(), request.authority.as_str()), ("hydra-admin", "hydra:4445"));
        assert_eq!(
            (request.path.as_str(), request.timeout),
            ("/admin/oauth2/introspect", Settings::DEFAULT_TIMEOUT)
        );
        assert!(request.headers.contains(&("accept", "application/json".to_owned())));
        assert!(request.headers.contains(&("content-type", "application/x-www-form-urlencoded".to_owned())));
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
