//! `anthropic_response` of [`llm_fuzz::TARGETS`], for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| llm_fuzz::run("anthropic_response", data));
