use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::EvictionPolicy;

fn read(url: &str) -> Result<StoreUrl, String> {
    url.parse().map_err(|error: UrlError| error.to_string())
}

#[test]
fn store_url_parses_memory_and_parameters() {
    let url = read("memory:?max_bytes=64mb&policy=tinylfu").unwrap();
    assert_eq!((url.parameters.max_bytes, url.parameters.policy), (Some(64 << 20), Some(EvictionPolicy::TinyLfu)));
    assert_eq!(read("memory:").unwrap(), read("memory://?").unwrap());
}

#[cfg(feature = "file")]
#[test]
fn store_url_parses_file_and_parameters() {
    let url = read("file:///var/my%20cache/a%3Fb?max_bytes=2gb&memory=1kb&memory_ttl=5m").unwrap();
    assert_eq!(url.path(), Some(Path::new("/var/my cache/a?b")));
    let Parameters { max_bytes, memory, memory_ttl, .. } = url.parameters;
    assert_eq!((max_bytes, memory), (Some(2 << 30), Some(1 << 10)));
    assert_eq!(memory_ttl, Some(Duration::from_secs(300)));
    assert_eq!(read("file:/a").unwrap(), read("file://localhost/a").unwrap());
}

#[cfg(feature = "file")]
#[test]
fn store_url_error_names_part_and_choices() {
    for (url, message) in [
        ("/tmp/x", "no scheme"),
        ("http://host", "`http:`"),
        ("memory:x", "no path"),
        ("memory:?memory=1", "`max_bytes`, `policy`"),
        ("memory:?max_bytes=many", "`max_bytes`"),
        ("memory:?max_bytes=0", "less than 1kb"),
        ("memory:?max_bytes=1", "less than 1kb"),
        ("file:///a?max_bytes=1023", "less than 1kb"),
        ("file:///a?memory=1", "less than 1kb"),
        ("memory:?max_bytes=99999999999tb", "`max_bytes`"),
        ("memory:?max_bytes=1kb&max_bytes=2kb", "twice"),
        ("memory:?policy=fifo", "`lru`"),
        ("file:a/b", "relative"),
        ("file://a/b", "relative"),
        ("file://user:hunter2@host/b", "no user"),
        ("file:///", "names no file"),
        ("file:///a/", "directory"),
        ("file:///a%2", "`%`"),
        ("file:///a%ff", "UTF-8"),
        ("file:///a%00", "zero byte"),
        ("file:///a#b", "fragment"),
        ("file:///a?memory_ttl=5m", "`memory`"),
        ("file:///a?memory=1mb&memory_ttl=5", "`memory_ttl`"),
        ("file:///a?memory=1mb&memory_ttl=0s", "`memory_ttl`"),
        ("file:///a?hunter2=1", "parameter 1"),
    ] {
        let error = read(url).unwrap_err();
        assert!(error.contains(message), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{url}: {error}");
    }
}

#[test]
fn store_url_without_feature_names_it() {
    let secret = "user:hunter2@host";
    for (url, on, off) in [
        ("file:///var/answers".to_owned(), "redis", "file"),
        ("file:a/b?hunter2".to_owned(), "redis", "file"),
        (format!("redis://{secret}/0?prefix=x"), "file", "redis"),
        (format!("rediss://{secret}"), "file", "redis"),
        (format!("redis+cluster://{secret}"), "file", "redis"),
        (format!("rediss+cluster://{secret}"), "file", "redis"),
    ] {
        for features in [&[][..], &[on]] {
            let error = StoreUrl::read(&url, features).unwrap_err().to_string();
            let named = format!("feature `{off}` of llm-cache");
            assert!(error.contains(&named) && !error.contains("hunter2"), "{url}: {error}");
        }
        let is_off = read(&url).is_err_and(|error| error.contains("which is off"));
        assert_eq!(is_off, !FEATURES.contains(&off), "{url}");
    }
    assert!(StoreUrl::read("memory:?max_bytes=1mb", &[]).is_ok());
}

#[cfg(feature = "redis")]
#[test]
fn store_url_parses_redis_and_parameters() {
    let url =
        read("redis://user:hunter2@host:1/2?memory=1mb&prefix=shop&claim_timeout=2s&lease=5s&invalidation_bound=2s")
            .unwrap();
    let Parameters { prefix, lease, .. } = &url.parameters;
    assert_eq!((prefix.as_deref(), *lease), (Some("shop"), Some(Duration::from_secs(5))));
    let shown = format!("{url} {url:?}");
    assert!(
        shown.contains("redis://***@host:1/2?memory=1048576&prefix=shop&claim_timeout=2000ms&lease=5000ms"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2") && !shown.contains("user"), "{shown}");
    for (url, message) in [
        ("redis:", "no host"),
        ("redis://:hunter2@h?max_bytes=1", "`max_bytes` is no parameter"),
        ("redis://:hunter2@h?prefix=a:b", "`prefix`"),
        ("redis://:hunter2@h?lease=0s", "`lease`"),
        ("redis://:hunter2@h?claim_timeout=0s", "`claim_timeout`"),
        ("redis://:hunter2@h#x", "fragment"),
        ("redis://:hunter2/x@h", "password"),
        ("redis://:x?hunter=2@h", "password"),
        ("redis://:x#hunter2@h", "password"),
    ] {
        let error = read(url).unwrap_err();
        assert!(error.contains(message) && !error.contains("hunter2"), "{url}: {error}");
    }
}

proptest! {
    #[test]
    fn store_url_hides_password_and_never_panics(before in "(memory|file|redis|[a-z]{0,9}):(//)?", text in "\\PC{0,40}", after in "\\PC{0,20}") {
        let url = format!("{before}user:hunter2{text}@host/{after}?password=hunter2&hunter2");
        if let Err(error) = read(&url) {
            prop_assert!(!error.contains("hunter2"), "{}", error);
        }
        let _ = read(&text);
    }

    #[test]
    fn store_url_round_trips_as_text(path in "(/[^\0/]{1,8}){1,4}", max in 1u64.., memory in proptest::option::of(1u64..), seconds in 1u64..1_000_000) {
        let memory = memory.filter(|_| cfg!(feature = "file"));
        let url = StoreUrl {
            location: if cfg!(feature = "file") { Location::File(path.into()) } else { Location::Memory },
            parameters: Parameters {
                max_bytes: Some(max),
                policy: memory.map(|_| EvictionPolicy::Lru),
                memory,
                memory_ttl: memory.map(|_| Duration::from_secs(seconds)),
                ..Parameters::default()
            },
        };
        prop_assert_eq!(read(&url.to_string()), Ok(url));
    }
}
