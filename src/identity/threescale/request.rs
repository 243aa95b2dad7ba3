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
    /// Uses how much of which metrics, in the order of the policy's metrics.
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
    /// The status of the answer to one of the requests that used it.
    pub code: Option<String>,
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

    /// What the names of the calls about it begin with.
    const fn kind_of_call(&self) -> &'static str {
        match self {
            Self::UserKey(_) | Self::Application { .. } => "",
            Self::Client(_) => "oauth_",
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
    /// Identifies a question to this service: everything that may change the answer. Only the digest of these
    /// bytes may be kept, as the credential is among them.
    pub fn question(&self, question: &Question<'_>) -> Vec<u8> {
        let Question { applicant, usage, referrer } = question;
        let (kind, id, key) = match applicant {
            Applicant::UserKey(key) => (0, *key, None),
            Applicant::Application { id, key } => (1, *id, *key),
            Applicant::Client(id) => (2, *id, None),
        };
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(self.digest().bytes());
        bytes.push(kind);
        for text in [Some(id), key, *referrer] {
            bytes.push(u8::from(text.is_some()));
            push_text(text.unwrap_or_default(), &mut bytes);
        }
        for (metric, amount) in *usage {
            push_text(metric, &mut bytes);
            bytes.extend(amount.to_le_bytes());
        }
        bytes
    }

    /// The call that asks whether the application may use this much. It counts nothing at the backend.
    pub fn authorize(&self, question: &Question<'_>, digest: Digest, asker: Asker) -> Call {
        self.ask("authorize", question, Sharing::Joined(digest), asker)
    }

    /// The call that asks the same, and counts the usage at the backend if the application may.
    pub fn authrep(&self, question: &Question<'_>) -> Call {
        self.ask("authrep", question, Sharing::Alone, Asker::Known)
    }

    fn ask(&self, endpoint: &str, question: &Question<'_>, sharing: Sharing, asker: Asker) -> Call {
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
        let (base, of, query) = (self.base(), question.applicant.kind_of_call(), query.finish());
        let options = "rejection_reason_header=1&limit_headers=1&hierarchy=1";
        let request = HttpRequest {
            method: "GET",
            scheme: self.settings().endpoint.scheme().to_owned(),
            authority: self.settings().endpoint.authority().to_owned(),
            path: format!("{base}/transactions/{of}{endpoint}.xml?{query}"),
            headers: HeaderList::from([("3scale-options", options)]),
            body: Vec::new(),
        };
        self.call(request, sharing, asker, MAX_REPLY)
    }

    /// The question in words, without credentials.
    pub fn masked(&self, question: &Question<'_>) -> String {
        let service = match &self.settings().account {
            Account::Service { id, token: _ } | Account::Provider { service: Some(id), key: _ } => id,
            Account::Provider { service: None, key: _ } => "default",
        };
        let credential = match question.applicant {
            Applicant::UserKey(_) => "user_key=***",
            Applicant::Application { id: _, key: None } | Applicant::Client(_) => "app_id=***",
            Applicant::Application { id: _, key: Some(_) } => "app_id=*** app_key=***",
        };
        let of = question.applicant.kind_of_call();
        let mut words = format!("{of}authorize service_id={service} {credential}");
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
        for (index, transaction) in transactions.iter().enumerate() {
            let Transaction { parameter, application, usage, code } = transaction;
            form.append_pair(&format!("transactions[{index}][{parameter}]"), application);
            for (metric, amount) in usage {
                form.append_pair(&format!("transactions[{index}][usage][{metric}]"), &amount.to_string());
            }
            if let Some(code) = code {
                form.append_pair(&format!("transactions[{index}][log][code]"), code);
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

fn push_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
    bytes.extend(text.as_bytes());
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
        http(provider.authorize(&question, Digest::of(b"question"), Asker::Stranger))
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
    fn counting_at_once_asks_the_same_and_shares_no_call() {
        let provider = Provider::new(settings()).unwrap();
        for (applicant, of) in [(Applicant::UserKey("k"), ""), (Applicant::Client("web"), "oauth_")] {
            let question = Question { applicant, usage: HITS, referrer: None };
            let asked = provider.authorize(&question, Digest::of(b"question"), Asker::Stranger);
            let counted = provider.authrep(&question);
            assert_eq!(counted.sharing, Sharing::Alone);
            let [asked, counted] = [asked, counted].map(|call| http(call).path);
            assert!(counted.starts_with(&format!("/transactions/{of}authrep.xml?")), "{counted}");
            assert_eq!(counted, asked.replace("authorize", "authrep"));
        }
    }

    #[test]
    fn a_report_lists_transactions() {
        let transaction = |parameter, application: &str, usage: &[(&str, u64)]| Transaction {
            parameter,
            application: application.to_owned(),
            usage: usage.iter().map(|(metric, amount)| ((*metric).to_owned(), *amount)).collect(),
            code: (parameter == "app_id").then(|| "404".to_owned()),
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
             &transactions%5B1%5D%5Bapp_id%5D=a%26b&transactions%5B1%5D%5Busage%5D%5Bhits%5D=7\
             &transactions%5B1%5D%5Blog%5D%5Bcode%5D=404"
        );
    }

    #[test]
    fn everything_that_may_change_the_answer_identifies_the_question() {
        let provider = Provider::new(settings()).unwrap();
        let other = Provider::new(Settings { cluster: "other".to_owned(), ..settings() }).unwrap();
        let application = |id, key| Applicant::Application { id, key };
        let question =
            |applicant, usage, referrer| provider.question(&Question { applicant, usage, referrer });
        let (plain, hits): (_, &[(&str, u64)]) = (application("a", Some("k")), &[("hits", 1)]);
        let questions = [
            question(plain, hits, None),
            other.question(&Question { applicant: plain, usage: hits, referrer: None }),
            question(application("b", Some("k")), hits, None),
            question(application("a", Some("l")), hits, None),
            question(application("a", None), hits, None),
            question(application("a", Some("")), hits, None),
            question(Applicant::UserKey("a"), hits, None),
            question(Applicant::Client("a"), hits, None),
            question(plain, &[("hits", 2)], None),
            question(plain, &[("reads", 1)], None),
            question(plain, HITS, None),
            question(plain, &[], None),
            question(plain, hits, Some("")),
            question(plain, hits, Some("acme.com")),
        ];
        let different: std::collections::BTreeSet<_> = questions.iter().collect();
        assert_eq!(different.len(), questions.len());
        assert_eq!(question(plain, hits, None), questions[0]);
    }
}
