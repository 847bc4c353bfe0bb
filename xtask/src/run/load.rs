//! Starts the service and the load generator of the load run.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{Runner, read_metadata};
use crate::{
    load::{self, Figures},
    plan::Invocation,
};

/// `cargo xtask load`: fails if a bound is missed.
pub(crate) fn load(dry_run: bool) -> Result<(), String> {
    let (runner, target) = (Runner::new(dry_run), read_metadata()?.target_directory);
    let (tools, bodies) = (load::tools(&target), target.join("load-bodies.jsonl"));
    let (oha, service) = (tools.join("bin").join("oha"), target.join("release").join("axum_service"));
    if !oha.is_file() {
        runner.step(&Invocation::of(load::install(&tools)))?;
    }
    runner.step(&Invocation::new(load::BUILD))?;
    if dry_run {
        println!("{} 127.0.0.1:0 '{}'", service.display(), load::LIMITS.join("' '"));
        println!("{} {}", oha.display(), load::arguments(&bodies, "http://127.0.0.1:PORT").join(" "));
        return Ok(());
    }
    fs::write(&bodies, load::bodies()).map_err(|e| format!("cannot write {}: {e}", bodies.display()))?;
    let service = Service::start(&service)?;
    let before = system_load();
    println!("== {} requests to {}", load::REQUESTS, service.url);
    let mut generator = Command::new(&oha);
    let generator = generator.args(load::arguments(&bodies, &service.url)).stderr(Stdio::inherit());
    let output = generator.output().map_err(|e| format!("cannot start {}: {e}", oha.display()))?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, oha.display()));
    }
    let figures = Figures::read(&output.stdout, &service.costs()?)?;
    println!("{figures}\n   load of the machine: {before} before, {} after", system_load());
    fs::remove_file(&bodies).map_err(|e| format!("cannot remove {}: {e}", bodies.display()))?;
    figures.verdict()?;
    println!("   within the bounds");
    Ok(())
}

/// Process of the axum example, on two cores and a port that the system chooses. It is killed on drop.
struct Service {
    process: Child,
    url: String,
}

impl Service {
    fn start(program: &Path) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").args(load::LIMITS).env("TOKIO_WORKER_THREADS", "2");
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let process = process.map_err(|e| format!("cannot start {}: {e}", program.display()))?;
        let mut service = Self { process, url: String::new() };
        let mut line = String::new();
        let stdout = service.process.stdout.take().ok_or("the service has no output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|e| format!("cannot read the service's output: {e}"))?;
        let url = line.trim().strip_prefix("listening on ").ok_or("the service ended before it listened")?;
        url.clone_into(&mut service.url);
        Ok(service)
    }

    /// Requests the service's table of costs.
    fn costs(&self) -> Result<String, String> {
        let address = self.url.trim_start_matches("http://");
        let request = || {
            let (mut stream, mut text) = (TcpStream::connect(address)?, String::new());
            write!(stream, "GET /costs HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        let text = request().map_err(|e: std::io::Error| format!("cannot read the service's costs: {e}"))?;
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).ok_or_else(|| format!("no costs came: {text}"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A process that cannot be killed has ended already.
        drop(self.process.kill().and_then(|()| self.process.wait()));
    }
}

/// Returns the load averages of the last 1, 5 and 15 minutes, if the system states them.
fn system_load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = text.split_whitespace().take(3).collect();
    if averages.is_empty() { "unknown".to_owned() } else { averages.join(" ") }
}
