//! What must hold of the Iceberg tables of these worlds, whenever somebody looks.

use super::*;
use crate::publish::iceberg::folder::IcebergFolder;
use crate::publish::iceberg_set;

impl PublishedWorld {
    /// The newest version is the committed set at the manifest that it names, and no version goes back.
    pub(super) async fn check_iceberg(&self, place: usize, history: &[(Manifest, BTreeSet<String>)]) {
        let account: AccountName = ACCOUNTS[place].parse().expect("a name");
        for table in TABLES {
            let Some(set) = iceberg_set(&self.store, &account, table).await.expect("sound") else { continue };
            let folder = IcebergFolder { store: &self.store, account: &account, table };
            let version = folder.newest().await.expect("sound").expect("a table").version;
            let number = set.named.map_or(0, |named| named.number);
            let before = self.iceberg.lock().expect("sound").insert((table, place), (version, number));
            assert!(before <= Some((version, number)), "{table} went back from {before:?} to {version}, {number}");
            let Some(named) = set.named else {
                assert_eq!(set.active, BTreeMap::new(), "{table} {version}");
                continue;
            };
            let (manifest, committed) = &history[usize::try_from(number).expect("small") - 1];
            assert_eq!(named.created_at_millis, Some(manifest.created_at.millis()), "{table}: which manifest {number}");
            let own = committed.iter().filter(|path| path.starts_with(&format!("{table}/")));
            let active: Vec<&String> = set.active.keys().collect();
            assert_eq!(active, own.collect::<Vec<_>>(), "{table} version {version} of {account} at {number}");
        }
    }

    /// No newest version names an object that was deleted.
    pub(super) async fn assert_no_iceberg_names(&self, path: &str) {
        for account in ACCOUNTS {
            let account = account.parse().expect("a name");
            for table in TABLES {
                let set = iceberg_set(&self.store, &account, table).await.expect("sound");
                assert!(set.is_none_or(|set| !set.active.contains_key(path)), "{path} is deleted and active");
            }
        }
    }

    /// Every snapshot can be read with all its files, and what an append adds is new.
    pub(super) async fn check_snapshots(&self, account: &str) {
        let account: AccountName = account.parse().expect("a name");
        for table in TABLES {
            let folder = IcebergFolder { store: &self.store, account: &account, table };
            let Some(found) = folder.newest().await.expect("sound") else { continue };
            let mut before: Option<BTreeSet<String>> = None;
            for snapshot in &found.metadata.snapshots {
                let live = folder.live(snapshot).await.expect("every snapshot can be read");
                for entry in &live {
                    let path = folder.path_of(&entry.uri).expect("in the lake");
                    let held = self.store.get(path).await.expect("an answer").expect("the file is there");
                    assert_eq!(held.len() as i64, entry.bytes);
                    assert!(entry.sequence_number <= snapshot.sequence_number);
                }
                let files: BTreeSet<String> = live.into_iter().map(|entry| entry.uri).collect();
                if snapshot.summary["operation"] == "append" {
                    assert!(before.is_none_or(|before| before.is_subset(&files)), "an append removes nothing");
                }
                before = Some(files);
                self.count("snapshots read");
            }
        }
    }
}
