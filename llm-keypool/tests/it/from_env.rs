//! Keys in a variable of the environment, as people and templates write them.

use llm_keypool::KeyPool;

/// Returns the keys and their groups, or the error.
fn read(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut keys = Vec::new();
    let builder = KeyPool::from_env(
        "KEYS",
        |_| Some(text.to_owned()),
        |key| {
            keys.push(key.to_owned());
            Ok(())
        },
    );
    let members = builder.and_then(|builder| builder.build()).map_err(|error| error.to_string())?.status().members;
    let groups = members.into_iter().map(|it| (it.group != it.name).then(|| it.group.to_string()));
    Ok(keys.into_iter().zip(groups).collect())
}

#[test]
fn from_env_reads_keys_and_groups() {
    for (text, expected) in [
        ("a", &[("a", None)][..]),
        ("a,", &[("a", None)]),
        (" ,a ,, b,", &[("a", None), ("b", None)]),
        ("a\nb\r\n", &[("a", None), ("b", None)]),
        ("a,b,a, a ", &[("a", None), ("b", None)]),
        ("g:a,g:b,h : c,g:a", &[("a", Some("g")), ("b", Some("g")), ("c", Some("h"))]),
        ("g:a,b", &[("a", Some("g")), ("b", None)]),
        ("g:id:secret,:id:secret2", &[("id:secret", Some("g")), ("id:secret2", None)]),
    ] {
        let expected = expected.iter().map(|(key, group)| (String::from(*key), group.map(String::from)));
        assert_eq!(read(text), Ok(expected.collect()), "{text:?}");
    }
}

#[test]
fn from_env_refuses_odd_entries() {
    for (text, message) in [
        ("", "the variable KEYS holds no key"),
        (" , \n,", "the variable KEYS holds no key"),
        ("org1:", "entry 1 of the variable KEYS has no key"),
        ("org1:,org2:b", "entry 1 of the variable KEYS has no key"),
        ("a,sk-secret:", "entry 2 of the variable KEYS has no key"),
        ("a,:", "entry 2 of the variable KEYS has no key"),
        ("sk-secret,,org:sk-secret", "entry 3 of the variable KEYS repeats a key with another group"),
        ("org1:sk-secret,org2:sk-secret", "entry 2 of the variable KEYS repeats a key with another group"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(message) && !error.contains("secret"), "{text:?}: {error}");
    }
}
