//! Tests that stacks which cannot work do not compile, and that the compiler says what to do.
//!
//! The stacks are the examples of this package, which the feature `wrong-stacks` switches on. One run of cargo compiles all
//! of them, in the directory and with the features of this test's own dependencies, so that none of these is built again.

use std::{path::Path, process::Command};

/// Examples, each with sentences of this project that the compiler's message must contain.
const WRONG: [(&str, &[&str]); 7] = [
    (
        "own_operation_without_tasks",
        &["does not serve `NameProduct`", "needs `.layer_fn(Tasks::new)` above the client"],
    ),
    (
        "tower_rate_limit",
        &["tower's `rate_limit` cannot be cloned", "take `concurrency_limit`, or the limits of llm-ratelimit"],
    ),
    (
        "tower_buffer",
        &["`buffer` serves requests of one type", "take `concurrency_limit`, or the limits of llm-ratelimit"],
    ),
    ("service_of_other_requests", &["this service, or one below it, does not serve"]),
    ("service_of_one_operation", &["does not serve `EmbedRequest`"]),
    ("service_without_clone", &["a service is `Clone + Send + 'static`, returns `Reply<_>`"]),
    ("service_of_foreign_error", &["its error becomes an `llm_core::Error`"]),
];

/// Compiles all stacks, and returns the compiler's messages.
fn compile() -> Vec<String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is below the target directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--examples", "--features", "wrong-stacks", "--keep-going", "--color", "never"]);
    cargo.arg("--manifest-path").arg(package.join("Cargo.toml")).arg("--target-dir").arg(target);
    let output = cargo.output().expect("cargo runs");
    let text = String::from_utf8(output.stderr).expect("messages are text");
    assert!(!output.status.success(), "{text}");
    // The first part precedes the first message.
    format!("\n{text}").split("\nerror").skip(1).map(str::to_owned).collect()
}

#[test]
fn wrong_stacks_fail_to_compile_with_reason() {
    let messages = compile();
    let all = messages.join("\nerror");
    for (stack, sentences) in WRONG {
        let source = format!("wrong/{stack}.rs:");
        let own: Vec<&str> = messages.iter().map(String::as_str).filter(|text| text.contains(&source)).collect();
        assert!(!own.is_empty(), "{stack} compiles, or cargo failed:\n{all}");
        for sentence in sentences {
            assert!(
                own.iter().any(|text| text.contains(sentence)),
                "{stack}: {sentence:?} is missing:\n{}",
                own.join("\nerror")
            );
        }
    }
    assert!(!all.contains("wrong/right_stack.rs") && !all.contains("(lib)"), "{all}");
}
