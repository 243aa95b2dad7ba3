//! The life of policies: loaded, replaced during requests, refused.

use super::*;

#[test]
fn a_policy_in_force_is_reported_by_revision_and_its_load_counted_once_for_all_workers() {
    let (script, store) = (Script::new(), Shared::default());
    let mut next = policy();
    next["revision"] = json!("r2");
    let gauge = |thread: &Thread<Shared>| {
        let policy = thread.worker.policy();
        let revision = policy.revision.clone().expect("tests name their policies");
        script.metric(&format!("sidegate.revision=.={revision};.;digest=.={};.;policy", policy.digest))
    };
    let accepted = || script.metric("sidegate.result=.=accepted;.;policy_loads");

    let old = [start(&script, store.clone(), &policy()), start(&script, store.clone(), &policy())];
    assert_eq!((accepted(), gauge(&old[0])), (1, 1));
    let new = start(&script, store.clone(), &next);
    unload(&old[0].worker);
    let another = start(&script, store.clone(), &next);
    unload(&old[1].worker);
    assert_eq!((accepted(), gauge(&old[0]), gauge(&new)), (2, 0, 1));
    unload(&new.worker);
    assert_eq!(gauge(&another), 1, "a worker that ends does not end the policy of the others");
    let loads = script.logs.borrow().iter().filter(|(_, line)| line.starts_with("policy loaded")).count();
    assert_eq!(loads, 2);
}

#[test]
fn warnings_are_logged_once_when_the_policy_is_loaded() {
    let (script, store) = (Script::new(), Shared::default());
    let mut doubtful = policy();
    doubtful["apis"][0]["rules"][0]["methods"] = json!(["get"]);
    let _workers = [start(&script, store.clone(), &doubtful), start(&script, store, &doubtful)];
    let logs = script.logs.borrow();
    let warnings: Vec<_> = logs.iter().filter(|(_, line)| line.contains("warnings")).collect();
    let [(log::Level::Warn, line)] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(
        line,
        "the policy has warnings:\napis[0] (orders).rules[0].methods: `get` is not `GET`, which clients send: methods compare exactly"
    );
}

#[test]
fn warnings_are_logged_beside_what_is_wrong() {
    let script = Script::new();
    let mut faulty = policy();
    faulty["apis"][0]["rules"][0]["methods"] = json!(["get"]);
    faulty["apis"][0]["limits"] = json!([{"metric": "visits", "max": 3, "per": "day"}]);
    let host = Scripted(Rc::clone(&script));
    let text = faulty.to_string();
    assert!(load(host, Shared::default(), seed(), ROOT, text.as_bytes(), &environment).is_none());
    let logs = script.logs.take();
    let [(log::Level::Error, rejected), (log::Level::Warn, warnings)] = &logs[..] else { panic!("{logs:?}") };
    assert!(
        rejected.starts_with("the policy is rejected:\napis[0] (orders).limits[0].metric: "),
        "{rejected}"
    );
    assert!(
        warnings.starts_with("the policy has warnings:\napis[0] (orders).rules[0].methods: "),
        "{warnings}"
    );
}

#[test]
fn counters_survive_the_policy_and_old_and_new_count_together() {
    let (script, store) = (Script::new(), Shared::default());
    let mut limited = policy();
    limited["apis"][0]["limits"] = json!([{"metric": "hits", "max": 3, "per": "day"}]);
    let old = start(&script, store.clone(), &limited);
    let key = || get("/v1/x").key("key-of-acme");
    assert_eq!(old.request(key()).1, "ok");
    limited["revision"] = json!("r2");
    let new = start(&script, store.clone(), &limited);
    assert_eq!(new.request(key()).1, "ok");
    assert_eq!(old.request(key()).1, "ok", "the old policy serves the requests that began under it");
    assert_eq!((old.request(key()).1.as_str(), new.request(key()).1.as_str()), ("14", "14"));
}

#[test]
fn a_request_in_flight_ends_under_the_policy_it_began_with() {
    let (script, store) = (Script::new(), Shared::default());
    let old = start(&script, store.clone(), &policy());
    let begun = waiting(&old, 2);
    let mut closed = policy();
    closed["revision"] = json!("r2");
    closed["apis"][0]["access"] = json!(["deny"]);
    let new = start(&script, store, &closed);
    unload(&old.worker);
    assert_eq!(new.request(with_token("t0ken")).1, "27");
    old.reply(1, &active());
    assert_eq!(outcomes(&script, &begun), all("ok"));
}

#[test]
fn no_name_in_a_policy_breaks_a_log_line_or_a_header() {
    let refused = |path: &str, value: &str| {
        let mut document = policy();
        *document.pointer_mut(path).expect("there") = json!(value);
        let script = Script::new();
        let loaded = load(
            Scripted(Rc::clone(&script)),
            Shared::default(),
            seed(),
            ROOT,
            document.to_string().as_bytes(),
            &environment,
        );
        loaded.is_none()
    };
    for path in ["/revision", "/consumers/0/name", "/apis/0/name", "/apis/0/rules/0/path"] {
        assert!(refused(path, "a\r\nset-cookie: b"), "{path}");
        assert!(refused(path, ""), "{path}");
    }
    let mut document = policy();
    document["apis"][0]["rules"][0] = json!({"regex": "/a|\n"});
    let script = Script::new();
    assert!(
        load(
            Scripted(script),
            Shared::default(),
            seed(),
            ROOT,
            document.to_string().as_bytes(),
            &environment
        )
        .is_none()
    );
}

#[test]
fn a_policy_that_does_not_load_is_reported_in_full_and_counted() {
    let script = Script::new();
    let mut bad = policy();
    bad["consumers"][0]["plan"] = json!("platinum");
    bad["apis"][0]["rules"][1]["path"] = json!("no-slash");
    bad["providers"]["hydra"]["introspection"]["authentication"]["basic"]["secret"] =
        json!({"env": "NO_SUCH_VARIABLE"});
    let text = bad.to_string();
    for (configuration, expected) in [
        (
            text.as_bytes(),
            vec!["consumers[0] (acme).plan: ", "apis[0] (orders).rules[1].path: ", "`NO_SUCH_VARIABLE`"],
        ),
        (b"".as_slice(), vec!["empty"]),
        (b"{".as_slice(), vec![""]),
    ] {
        assert!(
            load(Scripted(Rc::clone(&script)), Shared::default(), seed(), ROOT, configuration, &environment)
                .is_none()
        );
        let (level, line) = script.logs.borrow_mut().pop().expect("a line");
        assert_eq!(level, log::Level::Error);
        for expected in expected {
            assert!(line.contains(expected), "{expected} in {line}");
        }
    }
    assert_eq!(script.metric("sidegate.result=.=rejected;.;policy_loads"), 3);
    assert_eq!(script.metric("sidegate.result=.=accepted;.;policy_loads"), 0);
}
