use std::{fs::File, io::BufReader, path::PathBuf, time::Duration};

use flate2::read::MultiGzDecoder;
use llm_savings::{Analysis, Options};

use crate::row;

/// The ceilings that were counted independently of this crate, in per mille.
#[test]
fn exact_cache_matches_counted_ceilings_of_trace() {
    #[expect(clippy::disallowed_methods, reason = "the test's edge reads where traces lie")]
    let Some(traces) = std::env::var_os("LLM_TRACES").map(PathBuf::from) else {
        eprintln!("skipped: LLM_TRACES names no folder of traces");
        return;
    };
    let file = File::open(traces.join("bdd_regen_trace.csv.gz")).expect("the trace is there");
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let options = Options {
        key_column: "key_full".into(),
        frame_column: Some("key_header".into()),
        ttls: vec![hours(1), hours(24), hours(168), hours(720)],
        capacities: vec![328, 1_640],
        ..Options::default()
    };
    let mut analysis = Analysis::new(options);
    analysis.read(BufReader::new(MultiGzDecoder::new(file))).expect("the trace can be read");
    let report = analysis.finish();
    assert_eq!((report.log.calls, report.log.distinct), (100_630, 32_841));
    let cache = report.lever("exact cache");
    let hits = |setting| row(cache, setting).calls.expect("a count");
    assert_eq!(hits("no expiry"), 67_789);
    for (setting, per_mille) in [("ttl 30d", 400), ("ttl 7d", 316), ("ttl 24h", 208), ("ttl 1h", 140)] {
        assert_eq!((hits(setting) * 1_000 + 50_315) / 100_630, per_mille, "{setting}");
    }
    for (setting, per_mille) in [("no expiry, 328 ", 333), ("no expiry, 1,640", 527)] {
        assert_eq!((hits(setting) * 1_000 + 50_315) / 100_630, per_mille, "{setting}");
    }
    println!("{report}");
}
