//! Tests of the program `llm-cache` as a process.
#![expect(clippy::unwrap_used, reason = "cases are tests, and so is what they are made of")]

use std::process::{Command, Output};

use llm_core::{Call, ChatRequest};

use crate::{
    conformance::TestStore,
    upstream::{Upstream, ask, provider},
};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_llm-cache")).args(args).output().expect("the program was built")
}

/// Runs the program, which must succeed, and returns its output.
fn says(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program, which must fail, and returns its exit code and error text.
fn fails(args: &[&str]) -> (i32, String) {
    let output = run(args);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Creates a file with three responses for `acme` and one for `umbrella`, which do not expire.
fn filled() -> TestStore {
    let store = TestStore::file();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let cache = store.open_with(|builder| builder.ttl(llm_cache::Ttl::unlimited()));
        let provider = provider(&Upstream::default(), &cache);
        for text in ["a", "b", "c"] {
            provider.chat(ask(text)).await.unwrap();
        }
        let other = Call::new("umbrella", ChatRequest::new("m2").user("a"));
        provider.chat(other.with_label("prompt", "v1").unwrap()).await.unwrap();
    });
    store
}

#[test]
fn cli_inspect_and_stats_hide_responses() {
    let store = filled();
    let listed = says(&["inspect", store.url()]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(
        listed.contains(" tenant:umbrella ") && listed.contains("no end") && listed.contains("label:6:prompt=v1"),
        "{listed}"
    );
    let page = says(&["inspect", store.url(), "--limit", "3"]);
    let after = page.lines().last().unwrap().trim_start_matches("more: --after ").to_owned();
    assert_eq!(says(&["inspect", store.url(), "--after", &after]).lines().count(), 1);
    let stats = says(&["stats", store.url()]);
    assert!(stats.contains("entries     4") && stats.contains("live        4"), "{stats}");
}

#[test]
fn cli_purge_by_key_tag_tenant_all() {
    let store = filled();
    let listed = says(&["inspect", store.url()]);
    let of_acme = listed.lines().find(|line| line.contains(" tenant:acme ")).unwrap();
    let name = of_acme.split(' ').next().unwrap();
    for (what, gone, left) in [
        (vec!["--key", name], 1, 3),
        (vec!["--tag", "label:prompt=v2"], 0, 3),
        (vec!["--tag", "label:prompt=v1"], 1, 2),
        (vec!["--tenant", "umbrella"], 0, 2),
        (vec!["--tenant", "acme"], 2, 0),
        (vec!["--all"], 0, 0),
    ] {
        let args = [vec!["purge", store.url()], what].concat();
        assert_eq!(says(&args), format!("removed {gone}\n"), "{args:?}");
        assert_eq!(says(&["inspect", store.url()]).lines().count(), left);
    }
    let (code, message) = fails(&["purge", store.url(), "--key", name]);
    assert!(code == 1 && message.contains("no entry"), "{message}");
}

#[test]
fn cli_migrate_copies_and_seals() {
    let (from, to) = (filled(), TestStore::file());
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let secret = write("secret", &format!("{}\n", "0a".repeat(32)));
    let keys = write("keys", &format!("{} tenant:acme\n{0} scope:umbrella\n", "0b".repeat(32)));
    let sealed = ["--to-secret", &secret, "--to-keys", &keys];
    let copied = says(&[&["migrate", from.url(), to.url()], &sealed[..]].concat());
    assert_eq!(copied, "copied 3, expired 0, unreadable 0, not taken 1\n", "the tenant umbrella has no key");
    let read = ["--secret", &secret, "--keys", &keys];
    assert_eq!(says(&[&["inspect", to.url()], &read[..]].concat()).lines().count(), 3);
    assert_eq!(says(&["inspect", to.url()]), "unreadable: 3\n");
    let blind = run(&["purge", to.url(), "--tag", "model:m"]);
    assert!(blind.status.success() && String::from_utf8(blind.stderr).unwrap().contains("--keys"));
    assert_eq!(says(&["inspect", to.url()]), "unreadable: 3\n", "what cannot be read is not thrown away");
    let wrong = write("wrong", &format!("{} acme\n", "0b".repeat(32)));
    let (code, message) = fails(&["stats", to.url(), "--keys", &wrong]);
    assert!(code == 1 && message.contains("line 1") && !message.contains("0b0b"), "{message}");
    let (code, message) = fails(&["migrate", to.url(), to.url()]);
    assert!(code == 1 && message.contains("open already"), "{message}");
}

/// A log or a report on a full disk.
#[test]
fn cli_output_that_fails_is_an_error() {
    let (store, copy) = (filled(), TestStore::file());
    let full = || std::fs::File::create("/dev/full").expect("the system has it");
    for args in [
        &["--help"][..],
        &["stats", store.url()],
        &["inspect", store.url()],
        &["migrate", store.url(), copy.url()],
        &["purge", store.url(), "--tenant", "acme"],
    ] {
        let command = || Command::new(env!("CARGO_BIN_EXE_llm-cache"));
        let output = command().args(args).stdout(full()).output().expect("the program was built");
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
        assert!(message.starts_with("llm-cache: the standard output cannot be written: "), "{args:?}: {message}");
        let status = command().args(args).stderr(full()).output().expect("the program was built").status;
        assert!(status.success(), "{args:?}: progress that cannot be printed stops nothing");
    }
    assert_eq!(says(&["inspect", copy.url()]).lines().count(), 4, "all was copied all the same");
}

#[test]
fn cli_names_file_open_elsewhere() {
    let store = filled();
    let cache = store.open();
    let path = store.url().trim_start_matches("file://").trim_end_matches('?');
    for args in [vec!["stats", store.url()], vec!["purge", store.url(), "--all"]] {
        let (code, message) = fails(&args);
        assert!(
            code == 1 && message.contains("is open already, in another process") && message.contains(path),
            "{message}"
        );
    }
    drop(cache);
    assert!(says(&["stats", store.url()]).contains("entries     4"));
}

#[test]
fn cli_errors_are_clear_with_exit_code() {
    assert!(says(&["--help"]).starts_with("usage:"));
    for (args, code, message) in [
        (vec![], 2, "no command"),
        (vec!["frobnicate"], 2, "`frobnicate`"),
        (vec!["migrate", "memory:"], 2, "two addresses"),
        (vec!["stats"], 2, "one address"),
        (vec!["purge", "memory:"], 2, "one of"),
        (vec!["purge", "memory:", "--all", "--tenant", "x"], 2, "one of"),
        (vec!["purge", "memory:", "--tag", "x"], 2, "`x` is no tag"),
        (vec!["stats", "memory:", "--all"], 2, "only `purge`"),
        #[cfg(not(feature = "redis"))]
        (vec!["stats", "redis://u:hunter2@h"], 2, "`redis`"),
        #[cfg(feature = "redis")]
        (vec!["stats", "redis://u:hunter2@127.0.0.1:1"], 1, "127.0.0.1:1"),
        (vec!["stats", "file:///no/such/file"], 1, "/no/such/file does not exist"),
        (vec!["stats", "memory:"], 1, "memory"),
        (vec!["stats", "memory:", "--secret", "/no/such/file"], 1, "/no/such/file"),
        (vec!["stats", "memory:", "--bogus"], 2, "--bogus"),
    ] {
        let (exit, error) = fails(&args);
        assert!(exit == code && error.contains(message) && !error.contains("hunter2"), "{args:?}: {exit}: {error}");
    }
}

#[cfg(all(feature = "redis", unix))]
#[test]
fn cli_works_on_redis() {
    let (server, from, back) = (llm_testkit::redis::RedisServer::spawn(), filled(), TestStore::file());
    let url = format!("{}?prefix=shop", server.url());
    let copied = |from: &str, to: &str| says(&["migrate", from, to]);
    assert_eq!(copied(from.url(), &url), "copied 4, expired 0, unreadable 0, not taken 0\n");
    assert_eq!(says(&["inspect", &url]).lines().count(), 4);
    assert_eq!(says(&["purge", &url, "--tenant", "umbrella"]), "removed 1\n");
    assert!(says(&["stats", &url]).contains("live        3"));
    assert_eq!(copied(&url, back.url()), "copied 3, expired 0, unreadable 0, not taken 0\n");
    assert_eq!(says(&["purge", &url, "--all"]), "removed 3\n");
}
