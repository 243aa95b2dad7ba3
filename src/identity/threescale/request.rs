//! The calls to the backend: may this application use this much, and reports of what was used.

use form_urlencoded::Serializer;

use super::{Account, MAX_REPLY, Provider};
use crate::{
    credential::Digest,
    headers::HeaderList,
    provider::{Asker, Call, HttpRequest, Sharing, Transport, Wanted},
};

/// What a caller presents to be recognised as an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applicant<'a> {
    /// A user key.
    UserKey(&'a str),
    /// An application's id, and one of its keys.
    Application {
        /// The id.
        id: &'a str,
        /// The key; an application without keys needs none.
        key: Option<&'a str>,
    },
    /// An OAuth2 client that somebody else authenticated.
    Client(&'a str),
}

/// What the backend is asked about a request.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who.
    pub applicant: Applicant<'a>,
    /// Uses how much of which metrics, in the order of the policy.
    pub usage: &'a [(&'a str, u64)],
    /// Referred to by whom.
    pub referrer: Option<&'a str>,
}

/// One application's usage in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The parameter that names the application: `user_key` or `app_id`.
    pub parameter: &'static str,
    /// Its value.
    pub application: String,
    /// What was used.
    pub usage: Vec<(String, u64)>,
}

/// The headers of a reply that are read.
const REASON: &str = "3scale-rejection-reason";

impl Applicant<'_> {
    /// The parameter by which the backend knows the application, and its value.
    pub const fn parameter(&self) -> (&'static str, &str) {
        match self {
            Self::UserKey(key) => ("user_key", key),
            Self::Application { id, key: _ } | Self::Client(id) => ("app_id", id),
        }
    }

    /// The id of the application, if the caller presents it.
    pub const fn id(&self) -> Option<&str> {
        match self {
            Self::UserKey(_) => None,
            Self::Application { id, key: _ } | Self::Client(id) => Some(id),
        }
    }
}

impl Provider {
    /// The digest of a question to this service: everything that may change the answer. It does not reveal
    /// the credential.
    pub fn question(&self, question: &Question<'_>) -> Digest {
        let Question { applicant, usage, referrer } = question;
        let (kind, id, key): (&[u8], _, _) = match applicant {
            Applicant::UserKey(key) => (b"user_key", *key, None),
            Applicant::Application { id, key } => (b"application", *id, *key),
            Applicant::Client(id) => (b"client", *id, None),
        };
        let amounts: Vec<_> = usage.iter().map(|(_, amount)| amount.to_le_bytes()).collect();
        let mut parts = vec![&self.digest().bytes()[..], kind, id.as_bytes()];
        for optional in [key, *referrer] {
            parts.push(if optional.is_some() { b"some" } else { b"none" });
            parts.push(optional.unwrap_or_default().as_bytes());
        }
        for ((metric, _), amount) in usage.iter().zip(&amounts) {
            parts.extend([metric.as_bytes(), amount]);
        }
        Digest::of_parts(&parts)
    }

    /// The call that asks whether the application may use this much. It counts nothing at the backend.
    pub fn authorize(&self, question: &Question<'_>, digest: Digest, asker: Asker) -> Call {
        let endpoint = match question.applicant {
            Applicant::Client(_) => "/transactions/oauth_authorize.xml",
            Applicant::UserKey(_) | Applicant::Application { .. } => "/transactions/authorize.xml",
        };
        let mut query = self.account();
        let (parameter, id) = question.applicant.parameter();
        query.append_pair(parameter, id);
        if let Applicant::Application { key: Some(key), .. } = question.applicant {
            query.append_pair("app_key", key);
        }
        for (metric, amount) in question.usage {
            query.append_pair(&format!("usage[{metric}]"), &amount.to_string());
        }
        // To the backend, the text `*` would be a referrer that every filter admits.
        if let Some(referrer) = question.referrer.filter(|referrer| referrer.trim() != "*") {
            query.append_pair("referrer", referrer);
        }
        let options = "rejection_reason_header=1&limit_headers=1&hierarchy=1";
        let request = HttpRequest {
            method: "GET",
            scheme: self.settings().endpoint.scheme().to_owned(),
            authority: self.settings().endpoint.authority().to_owned(),
            path: format!("{}{endpoint}?{}", self.base(), query.finish()),
            headers: HeaderList::from([("3scale-options", options)]),
            body: Vec::new(),
        };
        self.call(request, Sharing::Joined(digest), asker, MAX_REPLY)
    }

    /// The question in words, without credentials.
    pub fn masked(&self, question: &Question<'_>) -> String {
        let service = match &self.settings().account {
            Account::Service { id, token: _ } | Account::Provider { service: Some(id), key: _ } => id,
            Account::Provider { service: None, key: _ } => "default",
        };
        let (call, credential) = match question.applicant {
            Applicant::UserKey(_) => ("authorize", "user_key=***"),
            Applicant::Application { id: _, key: None } => ("authorize", "app_id=***"),
            Applicant::Application { id: _, key: Some(_) } => ("authorize", "app_id=*** app_key=***"),
            Applicant::Client(_) => ("oauth_authorize", "app_id=***"),
        };
        let mut words = format!("{call} service_id={service} {credential}");
        for (metric, amount) in question.usage {
            words.push_str(&format!(" usage[{metric}]={amount}"));
        }
        if let Some(referrer) = question.referrer {
            words.push_str(&format!(" referrer={referrer}"));
        }
        words
    }

    /// The call that reports what applications used.
    pub fn report(&self, transactions: &[Transaction]) -> Call {
        let mut form = self.account();
        for (index, Transaction { parameter, application, usage }) in transactions.iter().enumerate() {
            form.append_pair(&format!("transactions[{index}][{parameter}]"), application);
            for (metric, amount) in usage {
                form.append_pair(&format!("transactions[{index}][usage][{metric}]"), &amount.to_string());
            }
        }
        let request = HttpRequest {
            method: "POST",
            scheme: self.settings().endpoint.scheme().to_owned(),
            authority: self.settings().endpoint.authority().to_owned(),
            path: format!("{}/transactions.xml", self.base()),
            headers: HeaderList::from([("content-type", "application/x-www-form-urlencoded")]),
            body: form.finish().into_bytes(),
        };
        self.call(request, Sharing::Alone, Asker::Known, MAX_REPLY)
    }

    fn call(&self, request: HttpRequest, sharing: Sharing, asker: Asker, body: usize) -> Call {
        Call {
            cluster: self.settings().cluster.clone(),
            transport: Transport::Http(request),
            timeout: self.settings().timeout,
            wanted: Wanted {
                headers: &[REASON, "3scale-limit-reset", "3scale-limit-max-value", "retry-after"],
                trailers: &[],
                body,
            },
            sharing,
            asker,
        }
    }

    /// The path of the configured URL, without a slash at its end.
    fn base(&self) -> String {
        self.settings().endpoint.path().trim_end_matches('/').to_owned()
    }

    fn account(&self) -> Serializer<'static, String> {
        let mut form = Serializer::new(String::new());
        match &self.settings().account {
            Account::Service { id, token } => {
                form.append_pair("service_token", token.secret()).append_pair("service_id", id);
            }
            Account::Provider { service, key } => {
                form.append_pair("provider_key", key.secret());
                if let Some(service) = service {
                    form.append_pair("service_id", service);
                }
            }
        }
        form
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{Settings, provider::tests::settings},
        *,
    };
    use crate::{credential::ProviderSecret, provider::Endpoint};

    const HITS: &[(&str, u64)] = &[("hits", 1), ("words-write", 2)];

    fn http(call: Call) -> HttpRequest {
        let Transport::Http(request) = call.transport else { panic!("not HTTP") };
        request
    }

    fn asked(settings: Settings, applicant: Applicant<'_>, referrer: Option<&str>) -> HttpRequest {
        let provider = Provider::new(settings).unwrap();
        let question = Question { applicant, usage: HITS, referrer };
        http(provider.authorize(&question, provider.question(&question), Asker::Stranger))
    }

    #[test]
    fn a_question_is_a_query_with_account_application_usage_and_referrer() {
        let usage = "usage%5Bhits%5D=1&usage%5Bwords-write%5D=2";
        let own = "service_token=t0k%26n&service_id=123";
        let application = |key| Applicant::Application { id: "4f2e", key };
        for (applicant, referrer, expected) in [
            (Applicant::UserKey("k+1"), None, format!("authorize.xml?{own}&user_key=k%2B1&{usage}")),
            (application(None), None, format!("authorize.xml?{own}&app_id=4f2e&{usage}")),
            (application(Some("")), None, format!("authorize.xml?{own}&app_id=4f2e&app_key=&{usage}")),
            (
                application(Some("s")),
                Some("a b"),
                format!("authorize.xml?{own}&app_id=4f2e&app_key=s&{usage}&referrer=a+b"),
            ),
            (application(None), Some(" *"), format!("authorize.xml?{own}&app_id=4f2e&{usage}")),
            (Applicant::Client("web"), None, format!("oauth_authorize.xml?{own}&app_id=web&{usage}")),
        ] {
            let request = asked(settings(), applicant, referrer);
            assert_eq!(request.path, format!("/transactions/{expected}"));
            assert_eq!((request.method, request.authority.as_str()), ("GET", "su1.3scale.net"));
        }
    }

    #[test]
    fn a_provider_key_stands_for_the_account_and_the_url_may_have_a_path() {
        let account = Account::Provider { service: None, key: ProviderSecret::new("pk") };
        let endpoint = Endpoint::parse("http://backend:3000/apisonator/").unwrap();
        let request = asked(Settings { account, endpoint, ..settings() }, Applicant::UserKey("k"), None);
        let start = "/apisonator/transactions/authorize.xml?provider_key=pk&user_key=k&";
        assert!(request.path.starts_with(start), "{}", request.path);
    }

    #[test]
    fn a_report_lists_transactions() {
        let transaction = |parameter, application: &str, usage: &[(&str, u64)]| Transaction {
            parameter,
            application: application.to_owned(),
            usage: usage.iter().map(|(metric, amount)| ((*metric).to_owned(), *amount)).collect(),
        };
        let request = http(
            Provider::new(settings())
                .unwrap()
                .report(&[transaction("user_key", "k", HITS), transaction("app_id", "a&b", &[("hits", 7)])]),
        );
        assert_eq!((request.method, request.path.as_str()), ("POST", "/transactions.xml"));
        assert_eq!(
            String::from_utf8(request.body).unwrap(),
            "service_token=t0k%26n&service_id=123&transactions%5B0%5D%5Buser_key%5D=k\
             &transactions%5B0%5D%5Busage%5D%5Bhits%5D=1&transactions%5B0%5D%5Busage%5D%5Bwords-write%5D=2\
             &transactions%5B1%5D%5Bapp_id%5D=a%26b&transactions%5B1%5D%5Busage%5D%5Bhits%5D=7"
        );
    }

    #[test]
    fn everything_that_may_change_the_answer_changes_the_digest() {
        let provider = Provider::new(settings()).unwrap();
        let other = Provider::new(Settings { cluster: "other".to_owned(), ..settings() }).unwrap();
        let application = |id, key| Applicant::Application { id, key };
        let digest = |applicant, usage, referrer| provider.question(&Question { applicant, usage, referrer });
        let (plain, hits): (_, &[(&str, u64)]) = (application("a", Some("k")), &[("hits", 1)]);
        let digests = [
            digest(plain, hits, None),
            other.question(&Question { applicant: plain, usage: hits, referrer: None }),
            digest(application("b", Some("k")), hits, None),
            digest(application("a", Some("l")), hits, None),
            digest(application("a", None), hits, None),
            digest(application("a", Some("")), hits, None),
            digest(Applicant::UserKey("a"), hits, None),
            digest(Applicant::Client("a"), hits, None),
            digest(plain, &[("hits", 2)], None),
            digest(plain, &[("reads", 1)], None),
            digest(plain, HITS, None),
            digest(plain, &[], None),
            digest(plain, hits, Some("")),
            digest(plain, hits, Some("acme.com")),
        ];
        let different: std::collections::BTreeSet<_> = digests.iter().map(|digest| digest.to_hex()).collect();
        assert_eq!(different.len(), digests.len());
        assert_eq!(digest(plain, hits, None), digests[0]);
    }
}
