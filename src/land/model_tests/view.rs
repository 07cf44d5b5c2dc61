//! What a reader sees that lists files and knows no log: headers that have their details, and of each number the
//! latest.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Account, is_detail, is_header};
use super::rows::{Row, Version};

/// A listing of one table that was taken some time ago.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    has_headers: bool,
    paths: Vec<String>,
    /// The latest versions then, of what the lake held.
    latest: BTreeMap<u8, Version>,
}

/// The latest version of each number, and its file.
type Shown<'a> = BTreeMap<u8, (Row, &'a str)>;

impl Account {
    /// The view over these files.
    fn shown<'a>(&self, headers: impl Iterator<Item = &'a str>, details: impl Iterator<Item = &'a str>) -> Shown<'a> {
        let rows = |path: &str| self.files.get(path).into_iter().flat_map(|rows| rows.iter().copied());
        let have: BTreeSet<Version> = details.flat_map(rows).map(|row| row.version).collect();
        let mut shown = Shown::new();
        for path in headers {
            for row in rows(path).filter(|row| have.contains(&row.version)) {
                let held = shown.get(&row.version.num);
                if held.is_none_or(|(other, _)| other.version.age() < row.version.age()) {
                    shown.insert(row.version.num, (row, path));
                }
            }
        }
        shown
    }

    /// At this instant no view shows an older version than the latest committed one, nor half of one.
    pub(super) fn check_view(&self, tally: &mut BTreeMap<&'static str, u64>) {
        let names = || self.files.keys().map(String::as_str);
        let shown = self.shown(names().filter(|path| is_header(path)), names().filter(|path| is_detail(path)));
        self.check_shown(&shown, &self.latest, "at once", tally);
    }

    fn check_shown(
        &self,
        shown: &Shown<'_>,
        latest: &BTreeMap<u8, Version>,
        how: &str,
        tally: &mut BTreeMap<&'static str, u64>,
    ) {
        if self.has_damage {
            return;
        }
        let live: BTreeSet<u8> = self.live_rows().map(|row| row.version.num).collect();
        for (num, latest) in latest {
            let Some((row, path)) = shown.get(num) else {
                assert!(!live.contains(num), "listed {how}: the view misses {latest:?}");
                continue;
            };
            if row.version.age() >= latest.age() {
                continue;
            }
            // After an expire an older version may be the latest that is left: of a leftover, of what a late put has
            // brought back, of what is kept.
            let id = super::account::id_in(path);
            let is_leftover = id.is_none_or(|id| !self.born.contains_key(&id)) || self.deleted.contains(*path);
            let is_kept = self.kept.get(*path).is_some_and(|until| *until > i64::MIN)
                || id.and_then(|id| self.gone.get(&id)).is_some_and(|dead| dead.keep_until.is_some());
            assert!(is_leftover || is_kept, "listed {how}: the view shows {row:?} of {path}, the latest is {latest:?}");
            let what = if is_leftover { "older versions of a leftover" } else { "older versions of a kept file" };
            *tally.entry(what).or_default() += 1;
        }
    }

    /// A query that lists one table now and the other one some steps later.
    pub(super) fn view_in_two(&mut self, has_headers: bool, tally: &mut BTreeMap<&'static str, u64>) {
        let of = |has_headers| if has_headers { is_header } else { is_detail };
        let Some(first) = self.viewer.take() else {
            let paths = self.files.keys().filter(|path| of(has_headers)(path)).cloned().collect();
            let live: BTreeSet<u8> = self.live_rows().map(|row| row.version.num).collect();
            let latest = self.latest.iter().filter(|(num, _)| live.contains(num));
            let latest = latest.map(|(num, version)| (*num, *version)).collect();
            self.viewer = Some(Listed { has_headers, paths, latest });
            return;
        };
        if first.paths.iter().any(|path| !self.files.contains_key(path)) {
            *tally.entry("queries whose file vanished").or_default() += 1;
            return;
        }
        // Only those that list headers first are promised something.
        if !first.has_headers {
            return;
        }
        *tally.entry("queries that list headers first").or_default() += 1;
        let details = self.files.keys().map(String::as_str).filter(|path| is_detail(path));
        let shown = self.shown(first.paths.iter().map(String::as_str), details);
        self.check_shown(&shown, &first.latest, "headers first", tally);
    }
}
