//! Who runs this process, for the record of stops.

use crate::log::Requester;

/// Where shells, service managers and cron put the name of the user.
const USER_VARIABLES: [&str; 3] = ["USER", "LOGNAME", "USERNAME"];
/// Where Linux keeps the name of the machine.
const HOST_FILES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];
/// Where other systems and some shells put it.
const HOST_VARIABLES: [&str; 2] = ["HOSTNAME", "COMPUTERNAME"];
/// A name longer than this is cut: it is a note for people.
const MAX_CHARS: usize = 128;

/// The user and the machine, as the environment names them; `unknown` where it does not.
pub(super) fn of_this_process() -> Requester {
    let variable = |name: &str| std::env::var(name).ok();
    requester(variable, |path| std::fs::read_to_string(path).ok())
}

fn requester(variable: impl Fn(&str) -> Option<String>, file: impl Fn(&str) -> Option<String>) -> Requester {
    let user = USER_VARIABLES.into_iter().filter_map(&variable).find_map(|name| tidy(&name));
    let host = HOST_FILES.into_iter().filter_map(file).chain(HOST_VARIABLES.into_iter().filter_map(&variable));
    let host = host.into_iter().find_map(|name| tidy(&name));
    let or_unknown = |name: Option<String>| name.unwrap_or_else(|| "unknown".to_owned());
    Requester { user: or_unknown(user), host: or_unknown(host) }
}

/// A name on one line, without what a terminal would act on; nothing when nothing is left.
fn tidy(name: &str) -> Option<String> {
    let kept: String = name.chars().filter(|char| !char.is_control()).take(MAX_CHARS).collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)], files: &[(&str, &str)]) -> (String, String) {
        let find = |all: &[(&str, &str)], name: &str| {
            all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let Requester { user, host } = requester(|name| find(variables, name), |path| find(files, path));
        (user, host)
    }

    #[test]
    fn the_environment_names_user_and_host() {
        let named = |user: &str, host: &str| (user.to_owned(), host.to_owned());
        assert_eq!(of(&[("USER", "li"), ("HOSTNAME", "a")], &[("/etc/hostname", "till-3\n")]), named("li", "till-3"));
        assert_eq!(of(&[("USER", " "), ("LOGNAME", "cron"), ("HOSTNAME", "a")], &[]), named("cron", "a"));
        assert_eq!(of(&[("USERNAME", "li\u{1b}[31m\n")], &[]), named("li[31m", "unknown"));
        assert_eq!(of(&[], &[]), named("unknown", "unknown"));
        assert_eq!(of(&[("USER", &"x".repeat(1_000))], &[]).0.len(), MAX_CHARS);
    }
}
