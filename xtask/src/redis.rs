//! Decides how to provide a `redis-server` for the tests, from the state of the machine. Nothing is started here.

use std::ffi::OsString;
use std::path::PathBuf;

/// Program that the tests spawn.
const PROGRAM: &str = "redis-server";
/// Environment variable that names the program if it is not on the path.
const VARIABLE: &str = "REDIS_SERVER_BIN";

/// Package managers with the commands that install the server, in the order in which they are tried.
const MANAGERS: [Manager; 7] = [
    Manager { program: "apt-get", steps: &["apt-get update", "apt-get install -y redis-server"], as_root: true },
    Manager { program: "apk", steps: &["apk add --no-cache redis"], as_root: true },
    Manager { program: "dnf", steps: &["dnf install -y redis"], as_root: true },
    Manager { program: "yum", steps: &["yum install -y redis"], as_root: true },
    Manager { program: "zypper", steps: &["zypper --non-interactive install redis"], as_root: true },
    Manager { program: "pacman", steps: &["pacman -Sy --noconfirm redis"], as_root: true },
    // brew refuses to run as root.
    Manager { program: "brew", steps: &["brew install redis"], as_root: false },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manager {
    program: &'static str,
    steps: &'static [&'static str],
    as_root: bool,
}

/// State of the machine.
pub(crate) struct Machine<'a> {
    /// Function that returns the value of an environment variable.
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<OsString>,
    /// Function that returns true if a file exists.
    pub(crate) is_file: &'a dyn Fn(&PathBuf) -> bool,
    /// Number of the user; 0 is root.
    pub(crate) uid: Option<u32>,
}

/// Action before the tests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The server exists at this path.
    Ready(PathBuf),
    /// These commands install it, without a question to the user.
    Install(&'static [&'static str]),
    /// The user must act. The text says how.
    Stop(String),
}

/// Returns the action for this machine. No command is run through `sudo`.
pub(crate) fn plan(machine: &Machine<'_>) -> Plan {
    if let Some(named) = (machine.lookup)(VARIABLE).filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        return match (machine.is_file)(&named) {
            true => Plan::Ready(named),
            false => Plan::Stop(format!("{VARIABLE} names {}, which is no file", named.display())),
        };
    }
    if let Some(found) = on_path(machine, PROGRAM) {
        return Plan::Ready(found);
    }
    let Some(manager) = MANAGERS.iter().find(|manager| on_path(machine, manager.program).is_some()) else {
        return Plan::Stop(format!(
            "the tests need a {PROGRAM}: install Redis 7 or compatible so that it is on the path, or set {VARIABLE}"
        ));
    };
    let is_root = machine.uid == Some(0);
    if is_root == manager.as_root {
        return Plan::Install(manager.steps);
    }
    let prefix = if manager.as_root { "sudo " } else { "" };
    let commands: Vec<_> = manager.steps.iter().map(|step| format!("{prefix}{step}")).collect();
    let who = if manager.as_root { "" } else { ", as a user who is not root" };
    Plan::Stop(format!("the tests need a {PROGRAM}; install it{who}:\n  {}", commands.join(" && ")))
}

fn on_path(machine: &Machine<'_>, program: &str) -> Option<PathBuf> {
    let path = (machine.lookup)("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| (machine.is_file)(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the plan for a machine with these files on the path, and perhaps the variable.
    fn planned(uid: u32, files: &[&str], variable: Option<&str>) -> Plan {
        let lookup = |name: &str| match name {
            "PATH" => Some("/bin:/opt/bin".into()),
            VARIABLE => variable.map(Into::into),
            _ => None,
        };
        let is_file = |file: &PathBuf| files.iter().any(|known| file.as_os_str() == *known);
        plan(&Machine { lookup: &lookup, is_file: &is_file, uid: Some(uid) })
    }

    #[test]
    fn redis_installed_server_is_used() {
        for uid in [0, 1000] {
            let ready = Plan::Ready("/opt/bin/redis-server".into());
            assert_eq!(planned(uid, &["/bin/apt-get", "/opt/bin/redis-server"], None), ready);
        }
        let ready = Plan::Ready("/my/own".into());
        assert_eq!(planned(1000, &["/bin/redis-server", "/my/own"], Some("/my/own")), ready);
    }

    #[test]
    fn redis_variable_without_file_stops() {
        let Plan::Stop(text) = planned(0, &["/bin/redis-server"], Some("/gone")) else { panic!("it does not stop") };
        assert!(text.contains(VARIABLE) && text.contains("/gone"), "{text}");
    }

    #[test]
    fn redis_is_installed_by_root() {
        let apt = Plan::Install(&["apt-get update", "apt-get install -y redis-server"]);
        assert_eq!(planned(0, &["/bin/apt-get"], None), apt);
        assert_eq!(planned(0, &["/bin/apk"], None), Plan::Install(&["apk add --no-cache redis"]));
        assert_eq!(planned(0, &["/bin/dnf"], None), Plan::Install(&["dnf install -y redis"]));
    }

    #[test]
    fn anybody_else_is_told_the_exact_command() {
        let Plan::Stop(text) = planned(1000, &["/bin/apt-get", "/bin/sudo"], None) else { panic!("it does not stop") };
        assert!(text.contains("sudo apt-get update && sudo apt-get install -y redis-server"), "{text}");
    }

    #[test]
    fn redis_is_installed_by_brew_unprivileged() {
        assert_eq!(planned(501, &["/opt/bin/brew"], None), Plan::Install(&["brew install redis"]));
        let Plan::Stop(text) = planned(0, &["/opt/bin/brew"], None) else { panic!("it does not stop") };
        assert!(text.contains("not root") && text.contains("brew install redis"), "{text}");
    }

    #[test]
    fn redis_missing_stops_with_command() {
        let Plan::Stop(text) = planned(0, &[], None) else { panic!("it does not stop") };
        assert!(text.contains(PROGRAM) && text.contains(VARIABLE), "{text}");
    }
}
